"""The conformance vectors in JavaScript, one `node --test`."""

from js_edgecap import node


def test_every_vector() -> None:
    ran = node("--test", "vectors.test.mjs", "vectors2.test.mjs")
    assert ran.returncode == 0, ran.stdout
    assert "# pass 21" in ran.stdout, ran.stdout
    assert "# skipped 0" in ran.stdout, ran.stdout
