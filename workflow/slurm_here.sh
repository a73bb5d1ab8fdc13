#!/usr/bin/env bash
# The pipeline through a real Slurm on this one machine, as root, to try what book/rerun.md says:
#
#   apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
#   pip install -e '.[slurm]'
#   workflow/slurm_here.sh book/notebooks/beyond/n06_curation.json
#
# Arguments are those of Snakemake (without any: all pages), so that a sweep goes through it, too:
#
#   python -m stlcore sweep n06 -p seed 1:50 --cores 0
#   workflow/slurm_here.sh -s workflow/sweep.smk --directory runs/n06.sweep
#
# Slurm lives in a temporary folder, without accounting, and goes when this script ends; its logs
# are shown if it does not start. Only its configuration is in the place where jobs look for it,
# and must not be there before.
set -euo pipefail
cd "$(dirname "$0")/.."

settings=/etc/slurm/slurm.conf
if [ -e $settings ]; then
  echo "$settings is there: this machine has a Slurm already"
  exit 1
fi
folder=$(mktemp -d)
stop() {
  rm -f $settings
  for name in slurmd slurmctld munged; do
    if [ -s "$folder/$name.pid" ]; then kill "$(cat "$folder/$name.pid")" 2>/dev/null || true; fi
  done
  sleep 1
  rm -rf "$folder"
}
trap stop EXIT

head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 400 "$folder/munge.key"
memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cores=$(getconf _NPROCESSORS_ONLN)
mkdir "$folder/state" "$folder/spool"
mkdir -p "$(dirname $settings)"
cat > $settings <<EOF
ClusterName=here
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF

munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
  --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
slurmctld
slurmd
for _ in $(seq 30); do
  if sinfo --noheader --states=idle 2>/dev/null | grep -q idle; then break; fi
  sleep 1
done
if ! sinfo --noheader --states=idle | grep idle; then
  tail -n 20 "$folder"/*.log
  exit 1
fi

python -m snakemake -s workflow/Snakefile --executor slurm --jobs 20 --keep-going \
  --slurm-status-command squeue "${@:-pages}"
