"""moto's AWS services on one port, whose EC2 can be out of spot instances: ``python ec2_server.py HOST PORT FILE``.

While the file exists, every request for a spot instance is refused, as EC2 does it. moto launches as few instances as a
request allows; here it launches as many, as EC2 does.
"""

import io
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

REFUSAL = (
    b"<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code><Message>There is no Spot capacity.</Message>"
    b"</Error></Errors><RequestID>0</RequestID></Response>"
)


class Ec2:
    """Hands on to moto what it does not refuse."""

    def __init__(self, inner: Any, file: Path) -> None:
        self._inner, self._file = inner, file

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if "form" in environ.get("CONTENT_TYPE", ""):
            body = environ["wsgi.input"].read(length)
            if b"Action=RunInstances" in body:
                if self._file.exists() and b"InstanceMarketOptions" in body:
                    headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(REFUSAL)))]
                    start_response("400 Bad Request", headers)
                    return [REFUSAL]
                body = re.sub(rb"MinCount=\d+(.*MaxCount=(\d+))", rb"MinCount=\2\1", body)
                environ["CONTENT_LENGTH"] = str(len(body))
            environ["wsgi.input"] = io.BytesIO(body)
        return self._inner(environ, start_response)


if __name__ == "__main__":
    host, port, file = sys.argv[1:]
    run_simple(host, int(port), Ec2(DomainDispatcherApplication(create_backend_app), Path(file)), threaded=True)
