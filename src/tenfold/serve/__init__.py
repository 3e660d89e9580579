"""What stands between the sockets and the service: the ASGI middleware, the web process, its drain."""

from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Request, Response
from tenfold.serve.replay import replayable

__all__ = ["Request", "Response", "TenfoldASGI", "replayable"]
