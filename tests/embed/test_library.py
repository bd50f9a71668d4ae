"""The library as an object file: what it needs, what it keeps, how large it is."""

import subprocess
from pathlib import Path

import pytest
from c_edgecap import CHECKED, NOT_CORE, SOURCES, STRICT, compile_c, compilers, core

from edgecap import __version__

# Of the C library, all of which Android's, musl and Windows have; and the loader's.
_NAMES = """
    malloc free memchr memcmp memcpy memmove memset strchr strcmp strcpy strcspn strlen strncmp
    strspn strrchr strstr snprintf vsnprintf fopen fread fclose ferror fgetc opendir readdir
    closedir stat open close fstat mmap munmap dlopen dlsym dlclose exp log pow sin cos ldexpf
"""
ALLOWED = set(_NAMES.split())


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    made = []
    for source in core():
        made.append(folder / f"{Path(source).stem}.o")
        plain = ("-O2", "-fno-pic", "-fno-pie", "-U_FORTIFY_SOURCE", "-fno-stack-protector")
        compile_c(*plain, "-c", source, "-o", str(made[-1]))
    return made


def symbols(objects: list[Path]) -> list[tuple[str, str]]:
    """(kind, name) as nm tells them."""
    run = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True)
    fields = [line.split() for line in run.stdout.splitlines()]
    return [(row[-2], row[-1]) for row in fields if len(row) >= 2]


def test_it_needs_few_functions(objects: list[Path]) -> None:
    found = symbols(objects)
    own = {name for kind, name in found if kind in "TRDB"}
    needed = {name for kind, name in found if kind == "U"} - own
    assert needed == needed & ALLOWED, needed - ALLOWED


def test_it_keeps_no_state(objects: list[Path]) -> None:
    assert [name for kind, name in symbols(objects) if kind in "dDbBC"] == []


def test_names_do_not_clash(objects: list[Path]) -> None:
    outside = [name for kind, name in symbols(objects) if kind in "TR"]
    assert [name for name in outside if not name.startswith(("edgecap_", "ec_"))] == []


def test_it_is_small(objects: list[Path]) -> None:
    run = subprocess.run(["size", "-t", *objects], capture_output=True, text=True, check=True)
    assert int(run.stdout.splitlines()[-1].split()[3]) < 200_000


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("level", ["-O0", pytest.param("-O3", marks=pytest.mark.full)])
def test_no_compiler_complains(compiler: str, level: str, tmp_path: Path) -> None:
    extra = [str(SOURCES / name) for name in NOT_CORE]
    out = str(tmp_path / "cli")
    compile_c(level, *core(), *extra, "-o", out, "-lm", "-ldl", compiler=compiler)


def test_the_header_is_c_and_cpp(tmp_path: Path) -> None:
    source = tmp_path / "app.cpp"
    source.write_text('#include "edgecap.h"\nint main() { edgecap_close(nullptr); }\n')
    run = subprocess.run(
        ["g++", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{SOURCES}", "-c", source]
        + ["-o", tmp_path / "app.o"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_the_line_in_the_header_builds(tmp_path: Path) -> None:
    line = next(x for x in (SOURCES / "edgecap.h").read_text().splitlines() if "cc -std" in x)
    command = line.split("*", 1)[1].split("(in this")[0].strip()
    command = command.replace("-o edgecap-caption", f"-o {tmp_path / 'edgecap-caption'}")
    run = subprocess.run(command, shell=True, cwd=SOURCES, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    usage = subprocess.run([tmp_path / "edgecap-caption", "--help"], capture_output=True, text=True)
    assert usage.stdout.startswith("usage: edgecap-caption")


def test_versions_agree() -> None:
    assert f'#define EDGECAP_VERSION "{__version__}"' in (SOURCES / "edgecap.h").read_text()


def test_cmake_lists_every_file_of_the_core() -> None:
    listed = (SOURCES / "CMakeLists.txt").read_text().split("set(core", 1)[1].split(")", 1)[0]
    assert listed.split() == [Path(file).name for file in core()]


@pytest.mark.full
def test_cmake_builds_and_installs(tmp_path: Path) -> None:
    build, prefix = tmp_path / "build", tmp_path / "prefix"
    for command in (
        ["cmake", "-S", SOURCES, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}"],
        ["cmake", "--build", build],
        ["cmake", "--install", build],
    ):
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
    app = tmp_path / "app.c"
    app.write_text(
        '#include <edgecap.h>\nint main(void) { return edgecap_open("no", NULL, NULL) != NULL; }\n'
    )
    flags = subprocess.run(
        ["pkg-config", "--static", "--cflags", "--libs", "edgecap"],
        env={"PKG_CONFIG_PATH": str(next(prefix.rglob("pkgconfig"))), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    out = tmp_path / "app"
    subprocess.run(["gcc", *STRICT, app, *flags.stdout.split(), "-o", out], check=True)
    assert subprocess.run([out]).returncode == 0
    assert (prefix / "bin" / "edgecap-caption").exists()


def test_sanitizers_are_on(tmp_path: Path) -> None:
    """Or the tests that rely on them would prove nothing."""
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <stdlib.h>\nint main(void) { char *p = calloc(3, 1); volatile int at = 3;\n"
        "int value = p[at]; free(p); return value; }\n"
    )
    compile_c(*CHECKED, str(source), "-o", str(tmp_path / "bad"))
    run = subprocess.run([tmp_path / "bad"], capture_output=True, text=True)
    assert run.returncode != 0 and "bad.c:3" in run.stderr
