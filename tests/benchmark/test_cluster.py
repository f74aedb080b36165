import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.bench.benchmark import run_benchmark
from fgaf.model.bench.cluster import Order
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.preset import Preset
from fgaf.model.bench.runs import plan_runs

pytestmark = pytest.mark.long

NETWORK = {
    "backbone": "shufflenet_v2_x0_5",
    "epochs": 3,
    "width": 8,
    "tta": False,
    "threads": 1,
    "fgaf": False,
}
SEARCHES = Preset.model_validate(
    {
        "name": "search",
        "reference": "tenengrad",
        "methods": [
            {"id": "tenengrad", "kind": "focus", "measure": "tenengrad"},
            {"id": "constant", "kind": "constant"},
        ],
    }
)
NETWORKS = Preset.model_validate(
    {
        "name": "network",
        "reference": "bare",
        "methods": [
            {"id": "bare", "kind": "classifier", "settings": NETWORK},
            {"id": "brenner", "kind": "focus", "measure": "brenner"},
        ],
    }
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes of one thread each."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
    ) as made:
        yield made


@pytest.fixture
def dataset(tmp_path: Path, texture_archive) -> Path:
    return write_archive(tmp_path / "dataset.h5", texture_archive(cells=8))


def without_times(results: dict) -> dict:
    """Results as far as they can be the same twice: without seconds, milliseconds and hours."""
    methods = [
        {
            **row,
            "seconds": 0,
            "cost": row["cost"] and row["cost"]["parameters"],
            "training": row["training"] and {**row["training"], "core_hours": 0},
        }
        for row in results["methods"]
    ]
    return {**results, "methods": methods}


class Killer(threading.Thread):
    """Kills, once, a worker process while it works on a run of a name."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(daemon=True)
        self.address, self.name_of_run, self.killed = address, name, 0

    def run(self) -> None:
        with Client(self.address, set_as_default=False) as client:
            pids = client.run(os.getpid)
            until = time.monotonic() + 60
            while not self.killed and time.monotonic() < until:
                for worker, keys in client.processing().items():
                    if any(self.name_of_run in str(key) for key in keys):
                        os.kill(pids[worker], signal.SIGKILL)
                        self.killed = pids[worker]
                        break
                time.sleep(0.02)


def test_a_killed_workers_run_is_repeated_and_the_results_are_those_of_one_machine(
    tmp_path: Path, dataset: Path, cluster: LocalCluster
) -> None:
    archive = Archive.read(dataset)
    alone = run_benchmark(archive, NETWORKS, tmp_path / "alone", seeds=[1])
    killer = Killer(cluster.scheduler_address, "bare-seed1")
    killer.start()
    lines: list[str] = []
    together = run_benchmark(
        archive,
        NETWORKS,
        tmp_path / "together",
        seeds=[1],
        scheduler=cluster.scheduler_address,
        say=lines.append,
    )
    killer.join()
    assert killer.killed
    assert without_times(together) == without_times(alone)
    assert sorted(line.split()[0] for line in lines) == ["[1/2]", "[2/2]"]
    assert not (tmp_path / "together" / "models").exists()


def test_a_worker_refuses_another_archive_and_the_other_answers_are_kept(
    tmp_path: Path, dataset: Path, texture_archive, cluster: LocalCluster
) -> None:
    archive = Archive.read(dataset)
    write_archive(dataset, texture_archive(cells=9), overwrite=True)
    with pytest.raises(FgafError, match=r"a worker has another archive at .*dataset\.h5") as caught:
        run_benchmark(archive, SEARCHES, tmp_path / "out", scheduler=cluster.scheduler_address)
    assert "0 of 2 runs are kept" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_run_that_fails_does_not_lose_the_others(
    tmp_path: Path, dataset: Path, cluster: LocalCluster
) -> None:
    wild = {"id": "wild", "kind": "classifier", "settings": NETWORK | {"lr": 1e3}}
    methods = [wild, {"id": "constant", "kind": "constant"}]
    preset = Preset.model_validate({"name": "p", "reference": "constant", "methods": methods})
    archive, out = Archive.read(dataset), tmp_path / "out"
    with pytest.raises(
        FgafError, match=r"wild-seed0-\w+ failed: .*the training diverged"
    ) as caught:
        run_benchmark(archive, preset, out, scheduler=cluster.scheduler_address)
    assert "the other 1 of 2 runs are kept: run the same command again to resume" in str(
        caught.value
    )
    assert [path.name.split("-")[0] for path in (out / "runs").iterdir()] == ["constant"]


def test_a_worker_with_other_code_or_without_the_archive_says_so(
    dataset: Path, texture_archive
) -> None:
    (first, *_) = plan_runs(SEARCHES, EvaluationSet(Archive.read(dataset)))
    order = Order.of(first)
    assert order.run().fingerprint == first.fingerprint
    with pytest.raises(FgafError, match="runs another version of fgaf; install the same one"):
        replace(order, fingerprint="other").run()
    with pytest.raises(
        FgafError, match=r"has no file .*moved\.h5; put the archive where all workers"
    ):
        replace(order, path=dataset.with_name("moved.h5")).run()
    in_memory = plan_runs(SEARCHES, EvaluationSet(texture_archive()))[0]
    with pytest.raises(SettingError, match="a cluster reads the archive from a file"):
        Order.of(in_memory)


@dataclass(frozen=True)
class Address:
    name: str
    address: str
    error: type[FgafError]
    message: str


ADDRESSES = [
    Address("no number", "local:two", SettingError, "starts no workers; write it as local:2"),
    Address("none", "local:0", SettingError, "starts no workers"),
    Address("nobody there", "tcp://127.0.0.1:1", FgafError, "no Dask scheduler answers at tcp:"),
    Address("no address", "smoke://signal", FgafError, "no Dask scheduler answers at smoke:"),
]


@pytest.mark.parametrize("case", ADDRESSES, ids=lambda case: case.name)
def test_a_wrong_scheduler_is_one_line(
    tmp_path: Path, dataset: Path, case: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgaf.base.workers.cluster.CONNECT_S", 1)
    with pytest.raises(case.error, match=re.escape(case.message)) as caught:
        run_benchmark(Archive.read(dataset), SEARCHES, tmp_path / "out", scheduler=case.address)
    assert "\n" not in str(caught.value)


def test_a_cluster_of_ones_own_is_started_and_ended(tmp_path: Path, dataset: Path) -> None:
    archive = Archive.read(dataset)
    alone = run_benchmark(archive, SEARCHES, tmp_path / "alone")
    assert without_times(
        run_benchmark(archive, SEARCHES, tmp_path / "out", scheduler="local:1")
    ) == without_times(alone)


def test_networks_cannot_be_kept_from_workers(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(SettingError, match="workers send answers, not networks"):
        run_benchmark(
            Archive.read(dataset),
            SEARCHES,
            tmp_path / "out",
            scheduler="local:2",
            keep_models=True,
        )
