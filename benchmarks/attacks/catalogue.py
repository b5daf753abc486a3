"""All attacks, in the order in which they come."""

from __future__ import annotations

from benchmarks.attacks.base import Attack
from benchmarks.attacks.bodies import LongLine, NearlyWhole, Trickle, WideTrickle
from benchmarks.attacks.callers import BurstFlood, DirectCallers
from benchmarks.attacks.collections import ColdFacets, ManySnapshots, SnapshotCopies
from benchmarks.attacks.connections import Idle, LongHeaders, Pipelined, Trailers
from benchmarks.attacks.engines import Factories, HangingMilvus
from benchmarks.attacks.jobs import JobList
from benchmarks.attacks.pictures import GreyPictures
from benchmarks.attacks.searches import LargeAnswers, LargeFilters, LongLists
from benchmarks.attacks.words import CombiningCharacters, Entities, LongWords
from benchmarks.attacks.writes import LargeMetadata, LargeUpserts, WriteFlood

ATTACKS: tuple[type[Attack], ...] = (
    Trickle,
    WideTrickle,
    NearlyWhole,
    LongLine,
    Trailers,
    Pipelined,
    LongHeaders,
    Idle,
    BurstFlood,
    DirectCallers,
    LargeAnswers,
    LargeFilters,
    LongLists,
    LongWords,
    Entities,
    CombiningCharacters,
    GreyPictures,
    LargeMetadata,
    LargeUpserts,
    WriteFlood,
    ColdFacets,
    SnapshotCopies,
    ManySnapshots,
    JobList,
    Factories,
    HangingMilvus,
)
