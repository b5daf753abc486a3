"""The tests of jobs once more, with the record of jobs in a PostgreSQL: what callers see is the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway import test_jobs
from tests.gateway.postgres_server import INSTALLED, PostgresServer
from tests.gateway.test_two_gateways import database, server

__all__ = ["database", "server"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="needs Debian's package postgresql"),
]
ABOUT_FILES = {  # of the record in a file, and of the lock beside it
    "test_a_gateway_beside_another_one_says_that_it_runs_no_jobs",
    "test_a_job_whose_caller_leaves_is_begun_all_the_same",
    "test_a_list_of_many_urls_is_not_held_by_its_job",
    "test_a_record_queues_a_job_once",
    "test_jobs_are_listed_a_page_at_a_time_and_without_their_urls",
    "test_members_of_a_tar_are_let_go",
    "test_no_job_leaves_no_file",
    "test_one_gateway_runs_the_jobs_of_a_data_folder",
}
SAME = tuple(name for name in vars(test_jobs) if name.startswith("test_") and name not in ABOUT_FILES)
globals().update({name: getattr(test_jobs, name) for name in (*SAME, "begin", "root", "stack")})


@pytest.fixture
def stack_of(stack_of: Any, server: PostgresServer, database: Any) -> Any:  # noqa: ARG001
    """A gateway as elsewhere, with jobs in an empty database."""

    def start(**settings: Any) -> Any:
        return stack_of(**{"database_url": server.url, **settings})

    start.stop = stack_of.stop  # type: ignore[attr-defined]
    return start


def test_names_of_those_left_out_are_right() -> None:
    assert set(vars(test_jobs)) >= ABOUT_FILES
    assert len(SAME) > 20
