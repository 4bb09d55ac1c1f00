# Your cluster: edit this file. It is read by submit.sh and by every job, and bids_harmony does not
# write over it. What stands in the environment of submit.sh wins: CPU_PARTITION=short bash submit.sh

CPU_PARTITION=${CPU_PARTITION:-}           # empty: the cluster's default
GPU_PARTITION=${GPU_PARTITION:-}
ACCOUNT=${ACCOUNT:-}                       # empty: yours
PARTICIPANT_GPUS=${PARTICIPANT_GPUS:-0}    # graphics cards per job; 0: none, in the CPU partition
TRAIN_GPUS=${TRAIN_GPUS:-0}                # more than one: torchrun starts one process per card
MAX_RUNNING=${MAX_RUNNING:-100}            # participants at the same time
ARRAY_SIZE=${ARRAY_SIZE:-1000}             # tasks per array; clusters allow MaxArraySize - 1
WORK=${WORK:-/scratch/bids_harmony}
MORE_OPTIONS=()                            # for every sbatch, such as (--qos=long --mail-type=FAIL)

# How a job calls the program. With a container, for example:
#   PROGRAM=(apptainer run --cleanenv --nv -B /data image.sif)
#   TORCHRUN=(apptainer exec --cleanenv --nv -B /data image.sif python -m torch.distributed.run)
# With modules or an environment, load them here.
PROGRAM=(python3 -m bids_harmony)
TORCHRUN=(python3 -m torch.distributed.run)
