"""The moves of web servers, workers and balancers that tests stop everywhere: from which map to which."""

from __future__ import annotations

import msgspec
from fake_tier import Scene

from tenfold.moves import change_nodes, put_balancers, take_balancers
from tenfold.topology.map import Map, NodeMap, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.targets import target_of
from tenfold.topology.wants import Wants, scale_wants, wants_of

SPEC = '[service]\nname = "shop"\napp = "shop:app"\n'
BALANCED = Wants(balancers=2)


def one_web(version: str = "") -> Map:
    """One web server on the public socket."""
    made = map_of(parse_spec(SPEC, "tenfold.toml"), root="/shop", state="/shop/.tenfold", previous=None)
    nodes = tuple(msgspec.structs.replace(node, version=version) for node in made.nodes)
    return msgspec.structs.replace(made, nodes=nodes)


def balanced(count: int, version: str = "") -> Map:
    """So many web servers behind two balancers."""
    current = target_of("put_balancers", one_web(version), BALANCED)
    wants = Wants(balancers=2, web=count, web_instead_of=current.web.processes, version=version)
    scaled = target_of("change_nodes", current, wants)
    nodes = tuple(
        msgspec.structs.replace(node, address=f"127.0.0.1:{20000 + int(node.name.rpartition('-')[2])}")
        if node.role == "web"
        else node
        for node in scaled.nodes
    )
    return msgspec.structs.replace(scaled, nodes=nodes)


def with_app(current: Map, app: str) -> Map:
    """What tenfold.toml wants when its `app` was edited: a setting that only new processes take."""
    return msgspec.structs.replace(current, app=app)


def scaled(name: str, before: Map, count: int, **more: object) -> Scene:
    """From so many web servers to `count`."""
    wants = Wants(balancers=2, web=count, web_instead_of=before.web.processes)
    return Scene(name, change_nodes.make, before, target_of("change_nodes", before, wants), **more)  # type: ignore[arg-type]


def deployed(name: str, before: Map, version: str, **more: object) -> Scene:
    """From one version to another."""
    wants = msgspec.structs.replace(wants_of(before), version=version)
    return Scene(name, change_nodes.make, before, target_of("change_nodes", before, wants), **more)  # type: ignore[arg-type]


def with_workers(before: Map, count: int) -> Map:
    """The map with so many workers, of the version of its web servers."""
    version = before.of_role("web")[0].version
    made = (NodeMap(f"worker-{number}", "worker", version=version) for number in range(1, count + 1))
    web, others = before.of_role("web"), [node for node in before.nodes if node.role != "web"]
    return msgspec.structs.replace(before, nodes=(*web, *made, *others))


def worked(name: str, before: Map, count: int, **more: object) -> Scene:
    """To so many workers."""
    wants = scale_wants(before, wants_of(before), worker=count)
    return Scene(name, change_nodes.make, before, target_of("change_nodes", before, wants), **more)  # type: ignore[arg-type]


def put(name: str, before: Map, **more: object) -> Scene:
    """Balancers come."""
    return Scene(name, put_balancers.make, before, target_of("put_balancers", before, BALANCED), **more)  # type: ignore[arg-type]


def take(name: str, before: Map, **more: object) -> Scene:
    """Balancers go."""
    return Scene(name, take_balancers.make, before, target_of("take_balancers", before, Wants()), **more)  # type: ignore[arg-type]


def renewed(name: str, before: Map) -> Scene:
    """A setting that only new processes take."""
    wanted = target_of("change_nodes", before, wants_of(before), with_app(before, "shop:other"))
    return Scene(name, change_nodes.make, before, wanted)


PUT = put("put", one_web())
TAKE = take("take", balanced(1))
DEPLOY_ONE = deployed("deploy-one", one_web("v1"), "v2")
DEPLOY_TWO = deployed("deploy-two", balanced(2, "v1"), "v2")
SCALE_UP = scaled("scale-up", balanced(2), 4)
SCALE_DOWN = scaled("scale-down", balanced(4), 2)
RENEW_ONE = renewed("renew-one", one_web())
RENEW_TWO = renewed("renew-two", balanced(2))
FIRST_WORKERS = worked("first-workers", one_web(), 2)
LAST_WORKER = worked("last-worker", with_workers(balanced(2), 1), 0)
FEWER_WORKERS = worked("fewer-workers", with_workers(one_web(), 2), 1)
DEPLOY_WORKERS = deployed("deploy-workers", with_workers(one_web("v1"), 1), "v2")

SCENES = (PUT, TAKE, DEPLOY_ONE, DEPLOY_TWO, SCALE_UP, SCALE_DOWN, RENEW_ONE, RENEW_TWO)
WORKER_SCENES = (FIRST_WORKERS, LAST_WORKER, FEWER_WORKERS, DEPLOY_WORKERS)
