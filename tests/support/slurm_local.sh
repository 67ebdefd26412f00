#!/usr/bin/env bash
# A SLURM cluster of this machine alone, for tests/test_slurm_sweeps.py: munge, slurmctld and slurmd as daemons
# whose files all lie in one folder. Nothing of a cluster that is installed here is touched or asked.
#
#   slurm_local.sh start FOLDER    as root; installs Debian's slurm-wlm and munge if they are missing. Exit code 3,
#                                  and the reason in one line, where that is impossible
#   slurm_local.sh stop FOLDER
#
# Clients find it by SLURM_CONF=FOLDER/slurm.conf.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
folder=$2
host=$(hostname -s)

give_up() { echo "no local SLURM: $1"; exit 3; }

start() {
    [ "$(id -u)" = 0 ] || give_up "its daemons need root"
    if ! command -v slurmctld slurmd srun munged > /dev/null; then
        command -v apt-get > /dev/null || give_up "slurmctld, slurmd, srun or munged is missing, and so is apt-get"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            slurm-wlm munge; } > /dev/null 2>&1 || give_up "apt-get cannot install slurm-wlm and munge"
    fi
    mkdir -p "$folder"/{state,spool}
    chmod 755 "$folder"
    getent hosts "$host" > /dev/null || echo "127.0.0.1 $host" >> /etc/hosts  # srun is called back by this name
    (umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
    # One core more than cells at once, so that the limit is that of the array. No accounting, no cgroups:
    # what is asked of SLURM must do without. A job is told by TERM, and killed KillWait seconds later.
    cat > "$folder/slurm.conf" <<END
ClusterName=tedg
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=3
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF=$folder/slurm.conf
    munged --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
    slurmctld -f "$SLURM_CONF" -c
    slurmd -f "$SLURM_CONF" -c
    for _ in $(seq 60); do
        if sinfo -h -o %T 2> /dev/null | grep -q idle; then return; fi
        sleep 0.5
    done
    tail -n 5 "$folder"/*.log >&2
    stop
    give_up "its daemons do not come up"
}

stop() {
    export SLURM_CONF=$folder/slurm.conf
    if scancel --me 2> /dev/null; then  # a job would outlive the daemons
        for _ in $(seq 40); do
            if [ -z "$(squeue -h 2> /dev/null)" ]; then break; fi
            sleep 0.25
        done
    fi
    for name in slurmd slurmctld munged; do
        if [ ! -f "$folder/$name.pid" ]; then continue; fi
        pid=$(cat "$folder/$name.pid")
        kill "$pid" 2> /dev/null || true
        for _ in $(seq 40); do  # until it is gone, or a zombie that nobody takes away
            if ! grep -q "^State:.*[^Z] (" "/proc/$pid/status" 2> /dev/null; then break; fi
            sleep 0.25
        done
    done
}

"$1"
