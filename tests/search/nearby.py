"""Workers that are threads of this process: all of a crew but its processes, which are slow to start."""

import pickle
import threading

import cloudpickle

from nbopt.search.executors.crew import Crew
from nbopt.search.executors.parcels import pack
from nbopt.search.executors.workplace import Workplace


class Gone(BaseException):
    """Ends a worker's thread where it is."""


class Nearby(Crew):
    """A crew whose workers can be lost, and taken over by another one.

    ``said`` has all that they said; ``listener(worker, kind, number, content)`` is called before the study hears of it.
    """

    def __init__(self, slots, others=()):
        super().__init__(slots)
        self.said, self.hired = [], []
        self.listener = lambda *said: None
        self._others = list(others)

    def pack(self, subject):
        return pack(subject, cloudpickle.dumps)

    def hire(self, study):
        self.hired.append(Near(self))
        return self.hired[-1]

    def reattach(self, study):
        found = {}
        for worker in self._others:
            worker.crew = self
            self.adopt(worker, 0)
            found |= {number: (worker, values) for number, values in worker.workplace.held().items()}
        return found


class Near:
    def __init__(self, crew):
        self.crew, self.lost = crew, False
        self.workplace = Workplace(self._say, pickle.loads, cloudpickle.dumps)
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        try:
            self.workplace.work()
        except Gone:
            pass

    def _say(self, kind, number, content):
        crew = self.crew
        content = pickle.loads(cloudpickle.dumps(content))
        crew.listener(self, kind, number, content)
        if self.lost:
            raise Gone
        crew.said.append((kind, number, content))
        crew.inbox.put((self, kind, number, content))

    def send(self, kind, content):
        self.workplace.deliver(*pickle.loads(cloudpickle.dumps((kind, content))))

    def lose(self):
        """Be lost; what it says from now on nobody hears."""
        self.lost = True
        self.crew.inbox.put((self, "lost", 0, "it went away"))

    def end(self):
        self.lost = True
        self.workplace.deliver("end", None)
