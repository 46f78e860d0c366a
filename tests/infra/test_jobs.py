from __future__ import annotations

import orjson
import pytest
from arq.jobs import serialize_job
from redis.asyncio.retry import Retry

from live.infra import jobs


def test_a_unix_url_with_spaces_becomes_a_socket_path() -> None:
    settings = jobs.redis_settings("unix:///tmp/a%20b/v.sock?db=3")
    assert (settings.unix_socket_path, settings.database) == ("/tmp/a b/v.sock", 3)


def test_a_tcp_url_keeps_its_password_as_it_was_before_escaping() -> None:
    settings = jobs.redis_settings("rediss://user:p%40ss%2F@queue.example:6380/2")
    assert (settings.host, settings.port, settings.database, settings.ssl) == ("queue.example", 6380, 2, True)
    assert (settings.username, settings.password, settings.unix_socket_path) == ("user", "p@ss/", None)


@pytest.mark.parametrize("url", ["redis://localhost", "redis://localhost/", "unix:///tmp/v.sock"])
def test_the_database_is_0_unless_named(url: str) -> None:
    assert jobs.redis_settings(url).database == 0


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="http://"):
        jobs.redis_settings("http://localhost")


def test_a_restarting_server_is_waited_for() -> None:
    settings = jobs.redis_settings("redis://localhost")
    assert isinstance(settings.retry, Retry)
    assert OSError in (settings.retry_on_error or [])  # without it, a refused connection would end the worker
    assert settings.retry_on_timeout


def test_bodies_are_json_whatever_stands_in_them() -> None:
    body = serialize_job("handoff", ("S1",), {}, None, 0, serializer=jobs.serialize)
    assert orjson.loads(body) == jobs.deserialize(body)
    assert jobs.deserialize(jobs.serialize({"result": ValueError("no")})) == {"result": "ValueError('no')"}


def test_waits_grow_with_the_tries_up_to_a_minute_and_are_not_alike() -> None:
    for tries, most in ((1, 0.5), (2, 1.0), (5, 8.0), (50, 60.0)):
        waits = [(jobs.again(tries).defer_score or 0) / 1000 for _ in range(50)]
        assert most / 2 - 0.01 <= min(waits) < max(waits) <= most


def test_a_topic_names_its_function() -> None:
    assert [jobs.function_of(topic) for topic in ("handoff", "group.close")] == ["handoff", "group_close"]
