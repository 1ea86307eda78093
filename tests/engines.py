"""Real engines on one machine, loopback only, each started by hand and ended by its process id.

``with slurm(folder): …`` runs munged, slurmctld and slurmd (Debian: slurm-wlm, munge), without accounting: where a killed
job is forgotten, not recorded.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={s}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=6817
SlurmdPort=6818
StateSaveLocation={s}/state
SlurmdSpoolDir={s}/spool
SlurmctldPidFile={s}/slurmctld.pid
SlurmdPidFile={s}/slurmd.pid
SlurmctldLogFile={s}/log/slurmctld.log
SlurmdLogFile={s}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
ReturnToService=2
MaxArraySize=2001
SchedulerParameters=batch_sched_delay=0,sched_interval=5
KillWait=2
MinJobAge=5
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
AccountingStorageType=accounting_storage/none
"""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster of this machine; yields the environment in which its commands find it."""
    host = socket.gethostname()
    for name in ("state", "spool", "log"):
        (folder / name).mkdir(parents=True)
    conf, key = folder / "slurm.conf", folder / "munge.key"
    conf.write_text(CONF.format(s=folder, host=host))
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = os.environ | {"SLURM_CONF": str(conf)}
    munged = [
        "munged", "--force", "--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}",
        f"--log-file={folder}/log/munged.log", f"--pid-file={folder}/munged.pid",
        f"--seed-file={folder}/munged.seed", "--origin=127.0.0.1",
    ]  # fmt: skip
    commands = [munged, ["slurmctld", "-D", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf), "-N", host]]
    daemons = []
    try:
        for command in commands:
            quiet = subprocess.DEVNULL
            path = environment["PATH"] + ":/usr/sbin:/sbin"
            daemons.append(
                subprocess.Popen(command, env=environment | {"PATH": path}, stdout=quiet, stderr=quiet)
            )
            time.sleep(2)
        for _ in range(30):
            known = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True
            )
            if known.stdout.strip() in ("idle", "mixed"):
                break
            time.sleep(1)
        else:
            raise RuntimeError(f"no node is idle: {known.stdout} {known.stderr}")
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            daemon.wait(20)
