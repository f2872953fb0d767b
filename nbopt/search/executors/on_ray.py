"""The executor of a Ray cluster: workers are actors, on one machine or many, which outlive the kernel that began.

Ray's core alone: which trials there are, and when they end, the study decides. An actor keeps what it said until the
study has it, so that another kernel that opens the study loses nothing; see `nbopt.search.executors.workplace`.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Mapping
from typing import Any

from nbopt.i18n import _
from nbopt.search.executors.actor import make_actor
from nbopt.search.executors.crew import Crew, Worker
from nbopt.search.executors.parcels import pack
from nbopt.search.executors.ray_cluster import connect

NAMESPACE = "nbopt"
"""Of the actors, which are named by their study."""

_ATTACH_SECONDS = 30.0  # how long an actor of before may take to answer


class OnRay(Crew):
    """Trials on a Ray cluster: ``nbopt.Study(..., executor=nbopt.OnRay(address="host:6379", gpus=0.5))``.

    Parameters
    ----------
    slots : int, optional
        By default, as many as the cluster has room for now.
    address : str, optional
        ``host:port`` of its head node. By default that in ``RAY_ADDRESS``, else what ``ray start`` began on this
        machine, else one of its own, which nobody else reaches and which ends with this process.
    cpus, gpus : float
        What Ray is to set aside for each trial.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ConnectionError
        If no cluster answers at the address.

    Examples
    --------
    >>> executor = nbopt.OnRay(slots=8, gpus=0.5)  # doctest: +SKIP
    >>> nbopt.OnRay(address="head")
    Traceback (most recent call last):
    ConnectionError: head: an address is host:port of the head node, head:6379 for example.
    """

    def __init__(
        self, slots: int | None = None, address: str | None = None, *, cpus: float = 1.0, gpus: float = 0.0
    ) -> None:
        self._ray = connect(address)
        room = self._ray.cluster_resources()
        places = int(room.get("CPU", 0) // cpus) if cpus else 0
        places = min(places, int(room.get("GPU", 0) / gpus)) if gpus else places
        super().__init__(slots or max(1, places))
        self._cpus = cpus
        self._options = {"num_cpus": cpus, "num_gpus": gpus, "namespace": NAMESPACE, "lifetime": "detached"}
        self._actor = make_actor(self._ray)

    @property
    def threads(self) -> int:
        """How many threads torch has in a worker."""
        return max(1, min(super().threads, int(self._cpus)))

    def hire(self, study: str) -> Worker:
        """Start an actor."""
        name = f"{study}:{secrets.token_hex(4)}"
        return _Actor(self._ray, self._actor.options(name=name, **self._options).remote(), self.inbox)

    def pack(self, subject: Any) -> bytes:
        """Return what trials are made of as it is sent to actors."""
        return pack(subject, self._ray.cloudpickle.dumps)

    def reattach(self, study: str) -> dict[int, tuple[Worker, Mapping[str, Any]]]:
        """Return the trials that actors of before are at, or have done."""
        found: dict[int, tuple[Worker, Mapping[str, Any]]] = {}
        for each in self._ray.util.list_named_actors(all_namespaces=True):
            if each["namespace"] == NAMESPACE and each["name"].startswith(f"{study}:"):
                try:
                    handle = self._ray.get_actor(each["name"], namespace=NAMESPACE)
                    process, held = self._ray.get(handle.attach.remote(), timeout=_ATTACH_SECONDS)
                except (self._ray.exceptions.RayError, ValueError):  # it is gone, or never was whole
                    continue
                worker = _Actor(self._ray, handle, self.inbox)
                self.adopt(worker, process)
                found |= {number: (worker, values) for number, values in held.items()}
        return found


class _Actor:
    """A worker that is an actor; a thread of this process waits for what it says."""

    def __init__(self, ray: Any, actor: Any, inbox: queue.SimpleQueue[Any]) -> None:
        self._ray, self._actor, self._inbox, self._ends = ray, actor, inbox, False
        threading.Thread(target=self._read, name="nbopt worker", daemon=True).start()

    def send(self, kind: str, content: Any) -> None:
        """Send a message."""
        self._actor.deliver.remote(self._ray.cloudpickle.dumps((kind, content)))

    def end(self) -> None:
        """End it."""
        self._ends = True
        self._ray.kill(self._actor)

    def _read(self) -> None:
        seen = 0
        while not self._ends:
            try:
                for number, message in self._ray.get(self._actor.collect.remote(seen)):
                    seen = number
                    self._inbox.put((self, *self._ray.cloudpickle.loads(message)))
            except Exception as error:  # of Ray's many kinds, or the cluster is gone
                self._inbox.put((self, "lost", 0, explain(error)))
                return


def explain(error: Exception) -> str:
    """Return in words why an actor is lost."""
    text = str(error)
    if "OOM" in text or "OutOfMemory" in type(error).__name__ or "out of memory" in text.lower():
        return _("its machine ran out of memory")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _("Ray lost it ({reason})", reason=(lines[0] if lines else type(error).__name__).rstrip("."))
