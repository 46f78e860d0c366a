"""nginx in front of the hub, with the README's own location block and a certificate made for the occasion: what TLS costs."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loadtest.stage import StageError, ends_with_us, free_port

READY_SECONDS = 10.0  # it starts in a tenth of one
PROXIES = "127.0.0.1"  # what LIVE_TRUSTED_PROXIES must be: each viewer keeps its own address
CONFIG = """\
{user}worker_processes 2;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;
    location /ws {{
      proxy_pass http://{hub};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_read_timeout 90s;
      proxy_buffering off;
    }}
  }}
}}
"""


@asynccontextmanager
async def proxy(hub_url: str) -> AsyncIterator[tuple[str, str]]:
    """An nginx before the hub: (its address for sockets, file with the certificate to trust). Raises StageError."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise StageError("--tls needs the program nginx; install it, on Debian with `apt-get install nginx-light`")
    with tempfile.TemporaryDirectory(prefix="live-proxy-") as name:
        folder, port = Path(name), free_port()
        _certificate(folder)
        user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers could not read the folder
        (folder / "nginx.conf").write_text(CONFIG.format(user=user, folder=folder, port=port, hub=urlsplit(hub_url).netloc))
        words = (program, "-p", name, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-g", "daemon off;")
        process = await asyncio.create_subprocess_exec(*words, preexec_fn=ends_with_us, start_new_session=True)
        try:
            await _ready(process, port, folder)
            yield f"wss://127.0.0.1:{port}{urlsplit(hub_url).path}", str(folder / "certificate")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while process.returncode is None:
                with socket.socket() as door:
                    if door.connect_ex(("127.0.0.1", port)) == 0:
                        return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    log = folder / "error.log"
    raise StageError(f"nginx did not start: {log.read_text()[-500:] if log.exists() else 'it said nothing'}")


def _certificate(folder: Path) -> None:
    """A key and a certificate for 127.0.0.1, good for a day, that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loadtest")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)  # signs data, signs certificates
    day = timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").touch(mode=0o600)
    (folder / "key").write_bytes(private)
