"""An APK from distribution packages: what Gradle and the NDK do, in the few steps that are there.

The native library is built against the names that Android's C library has, without its headers:
good enough to see that the core needs nothing else, and never to be shipped.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

from android import (
    JNI,
    KOTLIN,
    PROJECT,
    aar,
    android_jar,
    compile_kotlin,
    debian,
    java_headers,
    kotlin,
    run,
)
from c_edgecap import SOURCES, STRICT, core

from edgecap.bundle.packing import pack

APP = PROJECT / "app" / "src" / "main"
_AT_RUN_TIME = ("kotlin-stdlib", "kotlinx-coroutines-core-jvm")
LEAST_API = "26"  # of the APK made here; Gradle's own is lower
# What Android's C library has and onnxruntime's own library does not happen to use.
_BIONIC = {"exit", "fgets", "printf", "fgetc", "strspn", "strcpy", "strcspn", "ldexpf", "stat"}
_BIONIC |= {"opendir", "readdir", "ferror", "strcat"}


def native_library(out: Path) -> Path:
    """libedgecap_jni.so for arm64 Android."""
    stubs = out / "stubs"
    stubs.mkdir(parents=True)
    target = ["clang", "--target=aarch64-linux-android24", "-nostdlib", "-shared", "-fuse-ld=lld"]
    for name in ("c", "m", "dl"):
        run([*target, f"-Wl,-soname,lib{name}.so", "-x", "c", os.devnull]
            + ["-o", stubs / f"lib{name}.so"])  # fmt: skip
    library = out / "libedgecap_jni.so"
    flags = [*STRICT, "-O2", "-fPIC", "-ffp-contract=off", "-fvisibility=hidden"]
    flags += ["-U_FORTIFY_SOURCE", "-fno-stack-protector", f"-I{SOURCES}"]
    flags += ["-isystem", "/usr/aarch64-linux-gnu/include", *java_headers()]
    flags += ["-Wl,-z,max-page-size=16384"]
    run([*target, *flags, *JNI, *core(), f"-L{stubs}", "-lc", "-lm", "-ldl", "-o", library])
    return library


def _plain(jar: Path, out: Path) -> Path:
    """A copy without what newer Javas read, which dx refuses."""
    made = out / jar.name
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            if not name.startswith("META-INF/versions/"):
                new.writestr(name, old.read(name))
    return made


def undefined(library: Path) -> set[str]:
    """The names that a library wants from others."""
    return {
        line.split()[-1].split("@")[0]
        for line in run(["llvm-nm", "-D", "--undefined-only", library]).splitlines()
        if line.split()[-2] == "U"
    }


def bionic() -> set[str]:
    """Names of Android's C library: those that a real Android library of arm64 imports."""
    found = set()
    for library in (aar() / "jni" / "arm64-v8a").glob("*.so"):
        for line in run(["llvm-nm", "-D", "--undefined-only", library]).splitlines():
            name = line.split()[-1]
            if re.search(r"@LIBC|^[a-z_]+$", name):
                found.add(name.split("@")[0])
    return found | _BIONIC


def package(bundle: Path, out: Path) -> Path:
    """A signed APK of the sample without its camera, with a bundle of format onnx inside."""
    jar, jars = android_jar(), kotlin()
    assets, classes, generated = out / "assets", out / "classes", out / "generated"
    assets.mkdir()
    pack(bundle, assets / "bundle.edgecap")
    generated.mkdir()
    loose, aligned = out / "loose.apk", out / "captions.apk"
    manifest = Path(__file__).resolve().parents[1] / "embed" / "android" / "AndroidManifest.xml"
    run(["aapt", "package", "-f", "-m", "-J", generated, "-M", manifest, "-S", APP / "res"]
        + ["-A", assets, "-I", jar, "-0", "edgecap", "-F", loose])  # fmt: skip
    (numbers,) = generated.rglob("R.java")
    app = [file for file in APP.rglob("*.kt") if file.stem != "CameraActivity"]
    run(["javac", "--release", "8", "-Xlint:-options", "-d", classes, numbers])
    compile_kotlin([*KOTLIN.rglob("*.kt"), *app], classes, jar, classes)
    dx = debian() / "usr/share/java/com.android.dx.jar"
    run(["java", "-Xmx1g", "-cp", dx, "com.android.dx.command.Main", "--dex"]
        + [f"--min-sdk-version={LEAST_API}", f"--output={out / 'classes.dex'}", classes]
        + [_plain(jars / f"{name}.jar", out) for name in _AT_RUN_TIME])  # fmt: skip
    libraries = out / "lib" / "arm64-v8a"
    libraries.mkdir(parents=True)
    shutil.copy(native_library(out / "native"), libraries)
    shutil.copy(aar() / "jni/arm64-v8a/libonnxruntime.so", libraries)
    with zipfile.ZipFile(loose, "a") as archive:  # libraries are mapped from the APK: stored
        archive.write(out / "classes.dex", "classes.dex", zipfile.ZIP_DEFLATED)
        for library in sorted(libraries.iterdir()):
            archive.write(library, f"lib/arm64-v8a/{library.name}", zipfile.ZIP_STORED)
    run(["zipalign", "-f", "-p", "4", loose, aligned])
    key = out / "key.jks"
    run(["keytool", "-genkeypair", "-keystore", key, "-storepass", "android", "-alias", "test"]
        + ["-keyalg", "RSA", "-validity", "30", "-dname", "CN=test"])  # fmt: skip
    run(["apksigner", "sign", "--ks", key, "--ks-pass", "pass:android"]
        + ["--min-sdk-version", LEAST_API, aligned])  # fmt: skip
    return aligned
