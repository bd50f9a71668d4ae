"""The Android library without Android: Kotlin and JNI built for the desktop's JVM, and an APK.

kotlinc and coroutines come from npm, android.jar and dx from an older Debian; all lie in
build/android. Nothing here is what an app ships: that is built by Gradle and the NDK.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from c_edgecap import SOURCES, STRICT, core

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build" / "android"
PROJECT = REPOSITORY / "edgecap" / "embed" / "android" / "template"
JNI = sorted((PROJECT / "edgecap" / "src" / "main" / "cpp").glob("*.c"))
KOTLIN = PROJECT / "edgecap" / "src" / "main" / "kotlin"
_COMPILER = ("kotlin-compiler", "kotlin-stdlib", "kotlinx-coroutines-core-jvm")
_COMPILER += ("kotlin-script-runtime", "kotlin-reflect", "annotations-13.0")


def run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Standard output of a command that must work."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def kotlin() -> Path:
    """The directory of the compiler's jars."""
    return _npm("kotlin-compiler", "2.4.20") / "lib"


def aar() -> Path:
    """onnxruntime's Android archive, unpacked: real libraries of every processor."""
    made = BUILD / "onnxruntime-aar"
    if not made.exists():
        package = _npm("com.github.asus4.onnxruntime", "0.4.9")
        with zipfile.ZipFile(package / "Plugins" / "Android" / "onnxruntime.aar") as archive:
            archive.extractall(made)
    return made


def android_jar() -> Path:
    """The interface of Android's API 23."""
    return debian() / "usr/share/java/com.android.android-23.jar"


def debian() -> Path:
    """dx and android.jar, the last that Debian had."""
    made = BUILD / "bullseye"
    if not made.exists():
        script = REPOSITORY / "tests" / "embed" / "debian_suite.sh"
        run([script, "bullseye", "amd64", made, "dalvik-exchange", "libandroid-23-java"])
    return made


def _npm(name: str, version: str) -> Path:
    made = BUILD / name
    if not made.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=BUILD)
        packed = BUILD / f"{name}-{version}.tgz"
        with tarfile.open(packed) as archive:
            archive.extractall(BUILD / f".{name}", filter="data")
        (BUILD / f".{name}" / "package").rename(made)
        shutil.rmtree(BUILD / f".{name}")
        packed.unlink()
    return made


def compile_kotlin(sources: Sequence[Path], out: Path, *libraries: Path) -> None:
    """Class files, without any warning; lambdas as classes, which dx understands."""
    jars = kotlin()
    known = [jars / "kotlin-stdlib.jar", jars / "kotlinx-coroutines-core-jvm.jar", *libraries]
    run(
        ["java", "-Xmx1g", "-cp", _path([jars / f"{name}.jar" for name in _COMPILER])]
        + ["org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-Werror"]
        + ["-jvm-target", "1.8", "-Xlambdas=class", "-Xsam-conversions=class"]
        + ["-Xstring-concat=inline", "-Xsuppress-deprecated-jvm-target-warning"]
        + ["-cp", _path(known), "-d", out, *sources]
    )


def java_headers() -> list[str]:
    """Flags that find jni.h."""
    java = Path(os.path.realpath(shutil.which("javac") or "")).parents[1] / "include"
    return ["-isystem", str(java), "-isystem", str(java / "linux")]


def compile_jni(out: Path, *flags: str) -> Path:
    """The JNI library for this machine, as strictly compiled as the core."""
    library = out / "libedgecap_jni.so"
    run(
        ["gcc", *STRICT, *flags, "-fPIC", "-shared", "-fvisibility=hidden", f"-I{SOURCES}"]
        + [*java_headers(), *JNI, *core(), "-o", library, "-lm", "-ldl"]
    )
    return library


def java(classes: Sequence[Path], library: Path, main: str, *arguments: str | Path) -> str:
    """Run a class with JNI's own checks on; they must find nothing."""
    jars = kotlin()
    known = [*classes, jars / "kotlin-stdlib.jar", jars / "kotlinx-coroutines-core-jvm.jar"]
    said = run(
        ["java", "-Xcheck:jni", f"-Djava.library.path={library.parent}", "-Dstdout.encoding=UTF-8"]
        + ["-Dfile.encoding=UTF-8", "-cp", _path(known), main, *arguments]
    )
    assert "WARNING in native method" not in said and "FATAL ERROR in native" not in said, said
    return said


def _path(files: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, files))
