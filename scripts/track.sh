#!/usr/bin/env bash
# Two short runs whose curves TensorBoard shows side by side (some minutes on two cores). Needs: pip install 'plmtrain[tensorboard]'
# More settings may follow: scripts/track.sh trainer.steps=1000; tracker=wandb writes the files of Weights & Biases instead.
set -euo pipefail
for objective in dynamic_mlm whole_word_mlm; do
    plmtrain pretrain model=bert objective="$objective" data=sample size=tiny trainer.steps=400 tracker=tensorboard \
        name="tracked-$objective" "$@"
done
echo "tensorboard --logdir_spec dynamic:runs/tracked-dynamic_mlm/trackers,whole_words:runs/tracked-whole_word_mlm/trackers"
