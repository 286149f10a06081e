#!/bin/sh
# A Slurm of one node on this machine, for the test of hydra/launcher=submitit_slurm (Debian or Ubuntu, as root):
#   apt-get install -y slurm-wlm munge && sh tests/one_node_slurm.sh
#   pytest -m slow -n 0 tests/test_launchers.py -k slurm
# It writes /etc/slurm/slurm.conf. `sinfo` shows the node as idle; `pkill slurmd; pkill slurmctld; pkill munged` ends it.
set -eu
node=$(hostname -s)
install -d -o munge -g munge -m 0755 /run/munge
install -d /etc/slurm /var/spool/slurmctld /var/spool/slurmd
cat > /etc/slurm/slurm.conf <<EOF
ClusterName=one
SlurmctldHost=$node
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ReturnToService=2
MpiDefault=none
KillWait=20
NodeName=$node CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
pgrep -x munged > /dev/null || runuser -u munge -- munged
pgrep -x slurmctld > /dev/null || slurmctld
pgrep -x slurmd > /dev/null || slurmd
sleep 2
scontrol update "NodeName=$node" State=RESUME 2> /dev/null || true
sinfo
