"""The only reader of the environment. Every number has its reason beside it; every name can be set as LIVE_<NAME>."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of every process. Units stand in the name (`_seconds`, `_ms`, `_bytes`)."""

    model_config = SettingsConfigDict(env_prefix="LIVE_", extra="ignore", frozen=True)

    env: Literal["development", "demo", "production"] = "development"
    home: Path = Path(".live")  # local state: embedded servers, secrets, demo video
    log_level: str = "INFO"  # of our own events; libraries are never below WARNING

    # Servers. Unset URLs mean: start the embedded ones (refused in production).
    redis_url: str | None = None
    database_url: str | None = None
    queue_url: str | None = None  # arq does not speak Cluster, so its Redis may be another one; default: redis_url

    # Doors. All on loopback unless env is production.
    host: str = "127.0.0.1"
    web_port: int = Field(default=8000, ge=0, le=65535)
    hub_port: int = Field(default=8001, ge=0, le=65535)
    simulator_port: int = Field(default=8002, ge=0, le=65535)
    public_web_url: str | None = None  # as browsers see it; default http://host:web_port
    public_hub_url: str | None = None  # the socket's address as browsers see it; default ws://host:hub_port/ws
    trusted_proxies: str = ""  # comma-separated addresses whose X-Forwarded-For is believed
    allowed_origins: str = ""  # comma-separated; default: the public web address
    metrics_token: str | None = None  # loopback may always read /metrics; others need this

    # Secrets. Outside production, missing ones are made once and kept in home/secrets (mode 0600).
    token_secret: str | None = None  # signs viewer and staff tokens
    pickup_secret: str | None = None  # derives pickup codes

    # WeChat
    wechat_api_url: str = "https://api.weixin.qq.com"
    wechat_app_id: str = ""
    wechat_app_secret: str = ""
    wechat_pay_url: str = "https://api.mch.weixin.qq.com"
    wechat_pay_merchant: str = ""
    wechat_pay_key_file: Path | None = None  # merchant's private key, PEM
    wechat_pay_serial: str = ""  # serial of the merchant's certificate
    wechat_pay_v3_key: str = ""  # 32 bytes, decrypts notices
    wechat_pay_public_key_file: Path | None = None  # WeChat Pay's public key, PEM
    wechat_pay_public_key_id: str = ""
    refunds_per_second: int = Field(default=95, ge=1)  # of all workers together: WeChat Pay refuses beyond 100, the rest is for jitter

    # People
    token_seconds: int = 600  # a socket token lives 10 min and is refreshed in place; a leaked one soon ends
    staff_session_seconds: int = 12 * 3600  # one working day
    guests_per_second: float = Field(default=20.0, gt=0)  # per address, in the long run …
    guest_burst: int = Field(default=2_000, ge=1)  # … and at once: as many as may have sockets, for they all come when a show begins
    logins_per_second: float = Field(default=5.0, gt=0)  # per address, a phone's code and the login with it are two; staff too
    login_burst: int = Field(default=600, ge=1)  # a full classroom behind one address; per phone and per account there are stricter limits

    # Hub
    hubs: int = Field(default=1, ge=1, le=64)  # hub processes `live up` runs on one port: one core each; more than cores only adds reads
    hub_tick_ms: int = 100  # state and chat; below this a phone cannot show the difference
    hub_critical_ms: int = 10  # least distance between two reads of a room, so between two critical sweeps; an event waits half of it
    hub_events_per_frame: int = Field(default=300, ge=1)  # as many as a resume replays; a frame then stays below 100 KiB
    hub_inbound_bytes: int = 4096  # the largest command is a buy of a few lines, under 1 KiB
    hub_hello_seconds: float = 5.0  # an unauthenticated socket is closed after this
    hub_max_connections: int = 18_000  # a sweep of so many takes some 0.12 s; never more than the descriptor limit less 256
    hub_handshakes_per_second: int = 2_000  # half of what one core can do, so that those inside are served on
    hub_silent_seconds: float = 60.0  # clients ping every 25 s; two missed pings and a margin
    hub_behind_seconds: float = 10.0  # a write buffer not empty for so long: closed, to resume on a better line
    hub_sockets_per_address: int = 2_000  # loose: mobile carriers put thousands of viewers behind one address
    hub_sockets_per_person: int = Field(default=8, ge=1)  # phone, tablet, a console or two, and what the network has not yet given up
    hub_commands_per_second: float = 4.0  # hearts twice a second, a ping, a comment
    hub_command_burst: int = 60
    hub_buys_per_second: float = 0.5  # a person taps five times in ten seconds at most
    hub_buy_burst: int = 5
    hub_says_per_second: float = 0.5
    hub_say_burst: int = 3
    hub_drain_seconds: float = 2.0  # how long a stopping hub waits for closing handshakes
    hub_absent_ms: int = 2_000  # nobody is asked back sooner: a hub needs that to be started again, and who knocks in vain backs off far
    hub_return_ms: int = 5_000  # after that, clients of a stopping hub come back spread over this …
    hub_spread_ms: int = 6_000  # … and those of one that died over this: 10,000 are 1,700 handshakes a second
    comment_budget_per_second: int = 40  # more is unreadable; the norm of large platforms (20-40)
    comment_max_characters: int = 200
    comment_words: str = ""  # comma-separated; refused besides the built-in list

    # Buying
    batch_ms: float = 5.0  # how long the hub gathers intents of one room
    batch_size: int = 200
    unbooked_cap: int = 20_000  # more intents waiting than this: `busy` (about two seconds of the ledger's best rate) …
    line_cap: int = Field(default=20_000, ge=0)  # … and so many wait their turn in a hub, some 20 MB; who comes then is told so
    verdict_ms: int = 800  # then the buyer is told `pending`
    hold_seconds: int = 600  # live orders: 10 min to pay
    flash_hold_seconds: int = 300  # flash sales: 5 min
    hold_floor_seconds: int = Field(default=120, ge=30)  # of a hot offer: two minutes are enough for a hand that already holds the phone
    waitlist_hold_seconds: int = Field(default=120, ge=30)  # for what came back to somebody who waited: others wait behind them

    # Pools: (web + ledger + workers) x pool must stay below PostgreSQL's max_connections of 100
    db_pool: int = Field(default=10, ge=1)

    @property
    def _name(self) -> str:
        """The host as addresses have it: IPv6 wants brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def web_url(self) -> str:
        """Where browsers reach the web process."""
        return (self.public_web_url or f"http://{self._name}:{self.web_port}").rstrip("/")

    @property
    def hub_url(self) -> str:
        """Where sockets reach the hub."""
        return self.public_hub_url or f"ws://{self._name}:{self.hub_port}/ws"

    @property
    def simulator_url(self) -> str:
        """Where the WeChat simulator of the demo and the tests answers."""
        return f"http://{self._name}:{self.simulator_port}"

    @property
    def origins(self) -> list[str]:
        """Origins a browser may come from."""
        return [o.strip() for o in self.allowed_origins.split(",") if o.strip()] or [self.web_url]

    @property
    def proxies(self) -> frozenset[str]:
        """Addresses of proxies whose X-Forwarded-For is believed."""
        return frozenset(a.strip() for a in self.trusted_proxies.split(",") if a.strip())


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
