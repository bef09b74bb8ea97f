"""Power modes and clocks, from the files of a Jetson."""

from collections.abc import Sequence
from pathlib import Path

from edge.power import Modes, modes, power_mode, span

TABLE = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN >\n< PM_CONFIG DEFAULT=2 >\n"
ANSWER = "NV Power Mode: 15W\n0\n"


def test_a_jetson_tells_power_mode_and_clocks(tmp_path: Path) -> None:
    assert power_mode(tmp_path) == ""
    status, core = tmp_path / "var/lib/nvpmodel/status", tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    for folder in (status.parent, core, tmp_path / "etc"):
        folder.mkdir(parents=True)
    status.write_text("pmode:0002 fmode:fanNull\n")
    assert power_mode(tmp_path) == "mode 2, clocks moving"  # and a clock that is not told is not a fixed one
    (core / "scaling_min_freq").write_text("729600\n")
    (core / "scaling_max_freq").write_text("1510400\n")
    assert span(core, "scaling_") == (729_600, 1_510_400)
    assert power_mode(tmp_path) == "mode 2, clocks moving"
    (tmp_path / "etc/nvpmodel.conf").write_text(TABLE)
    (core / "scaling_min_freq").write_text("1510400\n")
    assert power_mode(tmp_path) == "MAXN, clocks fixed"
    assert modes(tmp_path) == Modes(2, {0: "15W", 2: "MAXN"}, 2)


def test_nvpmodel_is_asked_where_no_file_tells(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def ask(words: Sequence[str]) -> str:
        asked.append(words)
        return ANSWER

    assert modes(tmp_path).now is None
    assert modes(tmp_path, ask).now == 0
    assert power_mode(tmp_path, ask) == "mode 0, clocks moving"
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0001\n")
    assert modes(tmp_path, ask).now == 1
    assert asked == [("nvpmodel", "-q")] * 2
