"""Viewers who are known (openid or verified phone) and staff. Guests have no row: they are a random subject in a token."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big_or_none, document, identity, moment, moment_or_none, words, words_or_none
from live.infra.columns import big as number


class Person(SQLModel, table=True):
    """A viewer who can buy. `openid` and `phone` are identities; either is enough."""

    __tablename__ = "person"
    __table_args__ = (CheckConstraint("openid IS NOT NULL OR phone IS NOT NULL", name="identified"),)

    id: int | None = identity()
    openid: str | None = words_or_none(unique=True)
    phone: str | None = words_or_none(unique=True)
    name: str = words("")
    first_touch: dict[str, Any] = document(default_factory=dict)  # who brought them, for good; see sharing/
    token_version: int = number(1)  # raised to end every session of this person
    created_at: Moment = moment()


class Staff(SQLModel, table=True):
    """Someone who works here. A clerk belongs to one store, a group leader to one pickup point."""

    __tablename__ = "staff"
    __table_args__ = (
        CheckConstraint("role IN ('owner','host','moderator','clerk','leader')", name="role"),
        CheckConstraint("role NOT IN ('clerk','leader') OR store IS NOT NULL", name="clerk_has_store"),
    )

    id: int | None = identity()
    account: str = words(unique=True)
    name: str = words("")
    role: str = words()
    store: str | None = words_or_none(foreign_key="location.code")
    password_hash: str = words()
    one_time: bool = False  # the password must be changed at first login
    disabled: bool = False
    token_version: int = number(1)
    failures: int = number(0)  # wrong passwords in a row
    locked_until: Moment | None = moment_or_none()
    created_at: Moment = moment()


class PhoneCode(SQLModel, table=True):
    """A code sent to a phone; 5 min, 5 tries, single use. Only a keyed hash is kept."""

    __tablename__ = "phone_code"

    id: int | None = identity()
    phone: str = words(index=True)
    code_hash: str = words()
    tries: int = number(0)
    used_at: Moment | None = moment_or_none()
    expires_at: Moment = moment()
    person_id: int | None = big_or_none()
