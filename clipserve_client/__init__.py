"""The Python client of a clipserve gateway: embed, search, classify, rank, and fill collections.

with Client("http://127.0.0.1:8000") as client:
    hits = client.search("demo", "a red circle").hits
"""

from clipserve_client.answers.answers import (
    Alias,
    Answer,
    Caption,
    CaptionPiece,
    CaptionScore,
    Citation,
    Collection,
    Duplicate,
    Embeddings,
    Health,
    Hit,
    Item,
    ItemResult,
    Job,
    JobFailure,
    LabelScore,
    Limits,
    Model,
    Ranked,
    ScoreGuidance,
    SearchPage,
    UpdatedPage,
)
from clipserve_client.async_client import AsyncClient
from clipserve_client.client import Client
from clipserve_client.errors import ApiError, CallTimedOut, ClientError, ConnectionFailed
from clipserve_client.folder.folder import FolderOptions, ingest_folder, ingest_paths
from clipserve_client.ingest.results import Result, Tally
from clipserve_client.inputs.inputs import Mix, NewItem, Query
from clipserve_client.inputs.pictures import Picture
from clipserve_client.retries import Retries

__version__ = "0.1.0"

__all__ = [
    "Alias",
    "Answer",
    "ApiError",
    "AsyncClient",
    "CallTimedOut",
    "Caption",
    "CaptionPiece",
    "CaptionScore",
    "Citation",
    "Client",
    "ClientError",
    "Collection",
    "ConnectionFailed",
    "Duplicate",
    "Embeddings",
    "FolderOptions",
    "Health",
    "Hit",
    "Item",
    "ItemResult",
    "Job",
    "JobFailure",
    "LabelScore",
    "Limits",
    "Mix",
    "Model",
    "NewItem",
    "Picture",
    "Query",
    "Ranked",
    "Result",
    "Retries",
    "ScoreGuidance",
    "SearchPage",
    "Tally",
    "UpdatedPage",
    "ingest_folder",
    "ingest_paths",
]
