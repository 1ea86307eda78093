"""Real engines on one machine, loopback only, each started by hand and ended by its process id.

``with slurm(folder): …`` runs munged, slurmctld and slurmd (Debian: slurm-wlm, munge): a killed job is forgotten, not
recorded. With ``accounting=True`` mariadbd and slurmdbd too (slurmdbd, slurm-wlm-mysql-plugin, mariadb-server-core,
mariadb-client-core), and ``sacct`` answers. ``mpi(ranks, script)`` is the command of a script on Open MPI
(openmpi-bin; pip: mpi4py). `make engines` installs them all.
"""

import contextlib
import os
import socket
import subprocess
import sys
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
"""
NONE = "AccountingStorageType=accounting_storage/none\n"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=6819
AccountingStoragePass={s}/munge.socket
"""
DATABASE = """\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort=6819
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={s}/munge.socket
CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=acct
LogFile={s}/log/slurmdbd.log
PidFile={s}/slurmdbd.pid
"""
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def mpi(ranks: int, *script: str) -> list[str]:
    """One rank drives, the others are workers."""
    return ["mpiexec", "--allow-run-as-root", "--oversubscribe", "--mca", "btl", "self,vader", "--mca",
            "oob_tcp_if_include", "lo", "-n", str(ranks), sys.executable, "-m", "mpi4py.futures", *script]  # fmt: skip


def until(command: list[str], env: dict[str, str], *said: str) -> None:
    """Waits until a command ends well (and says one of ``said``)."""
    for _ in range(60):
        asked = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if asked.returncode == 0 and (not said or asked.stdout.strip() in said):
            return
        time.sleep(0.5)
    raise RuntimeError(f"{command[0]}: {asked.stdout} {asked.stderr}")


@contextlib.contextmanager
def slurm(folder: Path, accounting: bool = False) -> Iterator[dict[str, str]]:
    """A cluster of this machine; yields the environment in which its commands find it."""
    host = socket.gethostname()
    for name in ("state", "spool", "log", "db"):
        (folder / name).mkdir(parents=True)
    conf, key, base = folder / "slurm.conf", folder / "munge.key", folder / "slurmdbd.conf"
    conf.write_text((CONF + (ACCOUNTING if accounting else NONE)).format(s=folder, host=host))
    key.write_bytes(os.urandom(128))
    base.write_text(DATABASE.format(s=folder, host=host))
    for secret in (key, base):
        secret.chmod(0o600)
    env = os.environ | {"SLURM_CONF": str(conf), "MYSQL_UNIX_PORT": str(folder / "db.sock")}
    path = env["PATH"] + ":/usr/sbin:/sbin"
    daemons = []

    def start(*command: str) -> None:
        daemons.append(subprocess.Popen(command, env=env | {"PATH": path}, **QUIET))
        time.sleep(2)

    try:
        start("munged", "--force", "--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}",
              f"--log-file={folder}/log/munged.log", f"--pid-file={folder}/munged.pid",
              f"--seed-file={folder}/munged.seed", "--origin=127.0.0.1")  # fmt: skip
        if accounting:
            files = ["--no-defaults", "--user=root", f"--datadir={folder}/db"]
            subprocess.run(["mariadb-install-db", *files, "--auth-root-authentication-method=normal", "--skip-test-db"],
                           env=env, check=True, **QUIET)  # fmt: skip
            start("mariadbd", *files, "--skip-networking", f"--socket={folder}/db.sock", f"--pid-file={folder}/db.pid",
                  "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900")  # fmt: skip
            client = ["mariadb", "--no-defaults", f"--socket={folder}/db.sock", "-u", "root", "-e"]
            until([*client, "select 1"], env)
            subprocess.run([*client, "create user 'slurm'@'localhost'; grant all on *.* to 'slurm'@'localhost'"],
                           env=env, check=True)  # fmt: skip
            start("slurmdbd", "-D")
            until(["sacctmgr", "-i", "add", "cluster", "one"], env)
        start("slurmctld", "-D", "-f", str(conf))
        start("slurmd", "-D", "-f", str(conf), "-N", host)
        until(["sinfo", "-h", "-o", "%T"], env, "idle", "mixed")
        yield env
    finally:
        for daemon in reversed(daemons):  # each is needed by those that were started after it
            daemon.terminate()
            daemon.wait(30)
