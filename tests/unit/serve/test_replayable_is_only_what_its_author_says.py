from tenfold.serve.replay import is_replayable, replayable


async def endpoint() -> None: ...


@replayable
async def marked() -> None: ...


def test_reads_always_and_other_methods_only_where_marked() -> None:
    assert is_replayable("GET")
    assert is_replayable("HEAD", endpoint)
    assert not is_replayable("POST", endpoint)
    assert not is_replayable("DELETE")
    assert is_replayable("POST", marked)


def test_the_mark_changes_nothing_else() -> None:
    assert replayable(endpoint) is endpoint
