"""Bundles that are made to do harm: each is refused with a sentence, and nothing of it is kept."""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.errors import InputError
from spd_core.library import archive
from spd_core.library.bundle import write_bundle
from spd_core.library.incoming import import_bundle
from spd_core.library.things import Ref
from tests.library.test_shelf import RUN, TABLE, TEXT

Entries = list[tuple[zipfile.ZipInfo, bytes]]


@pytest.fixture
def good(home: Path, second_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entries:
    """Entries of a bundle that would be brought in; `SPD_HOME` is empty by now."""
    path = write_bundle([Ref("text", TEXT), Ref("run", RUN), Ref("evaluation", TABLE)], tmp_path / "good.zip")
    monkeypatch.setenv("SPD_HOME", str(second_home))
    with zipfile.ZipFile(path) as found:
        return [(entry, found.read(entry)) for entry in found.infolist()]


def packed(entries: Entries) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for entry, data in entries:
            made.writestr(entry, data)
    return out


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def with_manifest(entries: Entries, change: Callable[[dict[str, Any]], None]) -> Entries:
    """The same with another manifest."""
    rest = [one for one in entries if one[0].filename != "manifest.json"]
    manifest = json.loads(next(data for one, data in entries if one.filename == "manifest.json"))
    change(manifest)
    return [*rest, (entry("manifest.json"), json.dumps(manifest).encode())]


def with_file(entries: Entries, name: str, data: bytes, new: str = "") -> Entries:
    """The same with other content of a file, as the manifest then says, too; perhaps under a new name."""

    def change(manifest: dict[str, Any]) -> None:
        for thing in manifest["things"]:
            if name in thing["files"]:
                del thing["files"][name]
                thing["files"][new or name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    changed = [(entry(new or name), data) if one.filename == name else (one, old) for one, old in entries]
    return with_manifest(changed, change)


def refused(bundle: io.BytesIO | Path, home: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_bundle(bundle)
    kept = [path for path in home.rglob("*") if path.is_file() and path.name != ".lock"]
    assert kept == []
    assert not list(home.glob(".import-*"))


def test_the_good_one_comes_in(good: Entries, second_home: Path) -> None:
    assert import_bundle(packed(good)).refused == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.json", "no file that a bundle can hold"),
        ("texts/../../evil.json", "no file that a bundle can hold"),
        ("/etc/cron.d/evil", "no file that a bundle can hold"),
        ("C:/evil.json", "no file that a bundle can hold"),
        ("texts\\evil.json", "no file that a bundle can hold"),
        ("captures/x/evil.py", "no file that a bundle can hold"),
        ("captures/x/weights.bin", "no file that a bundle can hold"),
        ("runs/x/arms/spd/optimizer.pt", "no file that a bundle can hold"),
        ("models/x/model.safetensors", "no file that a bundle can hold"),
        ("hashes.json", "no file that a bundle can hold"),
        ("texts/", "no file that a bundle can hold"),
        ("texts/CON.json", "some systems reserve"),
        ("captures/nul/notes.json", "some systems reserve"),
        ("captures/x./notes.json", "some systems reserve"),
        (f"texts/{TEXT}.json", "is in it twice"),
        (f"texts/{TEXT.upper()}.json", "differ by capital letters alone"),
        ("texts/more.json", "and not in its manifest.json"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names(name: str, said: str, good: Entries, second_home: Path) -> None:
    refused(packed([*good, (entry(name), b"{}")]), second_home, said)


def test_a_name_with_a_nul(good: Entries, second_home: Path) -> None:
    data = packed([*good, (entry("texts/aXb.json"), b"{}")]).getvalue().replace(b"texts/aXb.json", b"texts/a\0b.json")
    refused(io.BytesIO(data), second_home, "reads in two ways")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o644])
def test_links_folders_and_pipes(mode: int, good: Entries, second_home: Path) -> None:
    refused(packed([*good, (entry("texts/link.json", mode), b"/etc/passwd")]), second_home, "no plain file")


def test_a_bomb(good: Entries, second_home: Path) -> None:
    name = next(one.filename for one, _ in good if one.filename.endswith("analysis.json"))
    refused(packed(with_file(good, name, b" " * 50_000_000)), second_home, "would swell")


def test_a_file_that_is_longer_than_the_zip_claims(good: Entries, second_home: Path) -> None:
    """Sizes in the directory and in the manifest agree, and the packed stream goes on."""
    name = f"texts/{TEXT}.json"
    size = next(len(data) for one, data in good if one.filename == name)
    found = zipfile.ZipFile(packed(with_file(good, name, b" " * (size + 100)))).getinfo(name)
    whole = with_manifest(
        with_file(good, name, b" " * (size + 100)),
        lambda manifest: [
            thing["files"][name].update(size=size) for thing in manifest["things"] if name in thing["files"]
        ],
    )
    data = packed(whole).getvalue().replace(found.file_size.to_bytes(4, "little"), size.to_bytes(4, "little"))
    refused(io.BytesIO(data), second_home, "damaged|is not what")


def test_too_many_files_and_too_many_bytes(good: Entries, second_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_ENTRIES", 5)
    refused(packed(good), second_home, "at most 5")
    monkeypatch.undo()
    monkeypatch.setenv("SPD_HOME", str(second_home))
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    refused(packed(good), second_home, "at most 1,000")
    monkeypatch.undo()
    monkeypatch.setenv("SPD_HOME", str(second_home))
    monkeypatch.setattr(archive, "free_space", lambda: 10)
    refused(packed(good), second_home, "10 are free")


def test_content_that_is_not_what_the_manifest_says(good: Entries, second_home: Path) -> None:
    name = f"texts/{TEXT}.json"
    other = [(one, data.replace(b"1", b"2") if one.filename == name else data) for one, data in good]
    refused(packed(other), second_home, "sha256")
    shorter = [(one, data[:-1] if one.filename == name else data) for one, data in good]
    refused(packed(shorter), second_home, "has not the size")
    refused(packed([pair for pair in good if pair[0].filename != name]), second_home, "is not in it")


def test_no_bundle_at_all(good: Entries, second_home: Path) -> None:
    refused(io.BytesIO(b"GIF89a"), second_home, "no whole zip")
    refused(io.BytesIO(packed(good).getvalue()[:-400]), second_home, "no whole zip")
    refused(packed([(entry("texts/a.json"), b"{}")]), second_home, "has no manifest.json")
    refused(packed([(entry("manifest.json"), b"[" * 100_000)]), second_home, "damaged")
    refused(packed([(entry("manifest.json"), b'{"format": 1}')]), second_home, "damaged")
    refused(packed(with_manifest(good, lambda m: m.update(format=2))), second_home, "newer SPD Lab")
    refused(packed(with_manifest(good, lambda m: m.update(more=1))), second_home, "damaged")
    refused(second_home / "none.zip", second_home, "cannot read the bundle")


def test_a_file_of_another_thing(good: Entries, second_home: Path) -> None:
    """A thing cannot claim a place that is not its own."""
    name = f"texts/{TEXT}.json"
    refused(packed(with_file(good, name, b"{}", f"repeats/{TEXT}.json")), second_home, "no file of text")


def test_things_that_no_reader_opens(good: Entries, second_home: Path) -> None:
    refused(packed(with_file(good, f"texts/{TEXT}.json", b"{}")), second_home, "holds no valid result")
    tensors = next(one.filename for one, _ in good if one.filename.endswith("adapter_model.safetensors"))
    refused(packed(with_file(good, tensors, b"\x80\x04evil pickle.")), second_home, "cannot be opened")
    capture = next(one.filename for one, _ in good if one.filename.endswith("analysis.safetensors"))
    refused(packed(with_file(good, capture, b"\xff" * 64)), second_home, "no valid capture")
    cell = next(one.filename for one, _ in good if "/cells/" in one.filename)
    refused(packed(with_file(good, cell, b"{}")), second_home, "cannot be opened")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("run.json", {"command": f"bash -c evil --run {RUN}"}, "names a program to be started"),
        ("run.json", {"launcher": "/tmp/evil launch"}, "names a program to be started"),
        ("run.json", {"id": TABLE}, "holds the run"),
        ("status.json", {"state": "queued"}, "runs in bundles are over"),
        ("status.json", {"job": {"pid": 1, "born": 1.0, "group": 1, "host": "here"}}, "runs in bundles are over"),
    ],
)
def test_a_run_that_would_start_a_program(
    file: str, change: dict[str, Any], said: str, good: Entries, second_home: Path
) -> None:
    name = f"runs/{RUN}/{file}"
    record = json.loads(next(data for one, data in good if one.filename == name))
    refused(packed(with_file(good, name, json.dumps({**record, **change}).encode())), second_home, said)


def test_an_encrypted_file_and_another_packing(good: Entries, second_home: Path) -> None:
    whole = packed(good).getvalue()
    at = whole.rindex(b"PK\x01\x02")
    refused(io.BytesIO(whole[: at + 8] + b"\x01\x00" + whole[at + 10 :]), second_home, "is encrypted")
    other = entry("texts/x.json")
    other.compress_type = zipfile.ZIP_LZMA
    refused(packed([*good, (other, b"{}")]), second_home, "packed by method 14")
