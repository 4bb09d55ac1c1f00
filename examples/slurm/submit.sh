#!/usr/bin/env bash
# Submits training once, then every participant as a task of an array, then the group.
# Again after failures: what is finished is recognized and skipped, what is missing is made.
#
#   bash submit.sh [--no-group] [--no-train]
#
# Prints the job numbers. Change partitions, account and container in cluster.sh, memory and time in
# the .sbatch files.
set -euo pipefail

FOLDER=/data/study/code/slurm
source "$FOLDER/cluster.sh"
mkdir -p "$FOLDER/log"
group=yes train=yes
for word in "$@"; do
    case $word in
        --no-group) group=no ;;
        --no-train) train=no ;;
        *) echo "submit.sh: unknown option $word" >&2; exit 64 ;;
    esac
done

submit() {  # graphics cards, name of the log, further words of sbatch
    local job partition=$CPU_PARTITION
    local options=(--output "$FOLDER/log/$2" ${MORE_OPTIONS[@]+"${MORE_OPTIONS[@]}"})
    if (($1 > 0)); then
        partition=$GPU_PARTITION
        options+=(--gres "gpu:$1")
    fi
    [[ -z $partition ]] || options+=(--partition "$partition")
    [[ -z $ACCOUNT ]] || options+=(--account "$ACCOUNT")
    job=$(sbatch --parsable "${options[@]}" "${@:3}") || return
    echo "${job%%;*}"
}

needs=()
trained=  # Without a model the others are taken off the queue; they would wait for ever.
if [[ $train == yes ]]; then
    job=$(submit "$TRAIN_GPUS" train-%j.log "$FOLDER/train.sbatch")
    echo "train $job"
    trained=afterok:$job
    needs=(--kill-on-invalid-dep=yes)
fi

count=$(wc -l < "$FOLDER/participants.txt")
finished=
for ((first = 0; first < count; first += ARRAY_SIZE)); do
    tasks=$((count - first < ARRAY_SIZE ? count - first : ARRAY_SIZE))
    job=$(submit "$PARTICIPANT_GPUS" participant-%A_%a.log ${needs[@]+"${needs[@]}"} \
        ${trained:+--dependency "$trained"} \
        --array "1-$tasks%$MAX_RUNNING" "$FOLDER/participant.sbatch" "$first")
    echo "participant $job"
    finished+=":$job"
done

if [[ $group == yes ]]; then
    # afterany: one participant that failed must not keep the others from being summed up.
    job=$(submit 0 group-%j.log ${needs[@]+"${needs[@]}"} \
        --dependency "${trained:+$trained,}afterany$finished" "$FOLDER/group.sbatch")
    echo "group $job"
fi
