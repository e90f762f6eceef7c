"""Why the lab could not do its work; each text says what to do about it.

    LabError
    |-- ServerMissing    there is no Toxiproxy server, and none could be had
    |-- MeshError        a change of the network was refused, or did not come about
    |-- ClusterError     the cluster under test does not start, or is lost
    |-- RecordingError   what a run left behind cannot be read
    `-- SettingError     what was asked of the lab makes no sense

None of them says anything about the store: a run that ends with one has no verdict.
"""


class LabError(Exception):
    """Root of the tree."""


class ServerMissing(LabError):
    """No Toxiproxy server; the text says how to get one."""


class MeshError(LabError):
    """The network between the nodes is not as it should be."""


class ClusterError(LabError):
    """The cluster under test does not start, or cannot be asked."""


class RecordingError(LabError):
    """A run's files are missing or broken."""


class SettingError(LabError):
    """An option or name that the lab does not know."""
