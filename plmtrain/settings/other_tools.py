"""The names that other tools give to settings, with plmtrain's name for each, or the reason why there is none.

They are those of transformers (``TrainingArguments``, the models' configs, the collators), of fairseq, and of the authors' own
code. A name in this table is never compared by spelling: ``mask_rate`` is spelled like ``mask_share`` and means another number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    """What plmtrain has for some names of other tools.

    Args:
        theirs: the names, without the ``--`` of a command line, and with ``_`` for ``-``.
        ours: full keys; of several, those that the run has. Empty where plmtrain has none.
        note: how ours differs, or why there is none.
    """

    theirs: str
    ours: tuple[str, ...] = ()
    note: str = ""


def _row(theirs: str, ours: str = "", note: str = "") -> Elsewhere:
    return Elsewhere(theirs, tuple(ours.split()), note)


_GLOBAL = "the sequences of a whole step, over all processes and micro-batches"
_PARTS = "a micro-batch changes memory, never the result: the rest of the batch is accumulated"
_SAVED = "every run saves at its last step, and keeps a fine-tuned run's best checkpoint"
_ROLES = "special tokens come from the tokenizer, by role"

TABLE = (
    # Batches
    _row(
        "per_device_train_batch_size per_gpu_train_batch_size train_batch_size batch_size_per_gpu", "trainer.batch_size", _GLOBAL
    ),
    _row("max_sentences", "trainer.batch_size", _GLOBAL),
    _row("gradient_accumulation_steps accumulate_grad_batches update_freq grad_accum_steps", "trainer.micro_batch_size", _PARTS),
    _row(
        "per_device_eval_batch_size per_gpu_eval_batch_size eval_batch_size max_sentences_valid",
        "trainer.micro_batch_size",
        _PARTS,
    ),
    _row("auto_find_batch_size", "trainer.micro_batch_size", "it is not searched for; " + _PARTS),
    _row(
        "max_seq_length max_seq_len seq_length seq_len block_size max_source_length tokens_per_sample model_max_length "
        "max_len max_length max_target_length max_source_positions max_target_positions",
        "trainer.sequence_length",
    ),
    _row(
        "max_tokens max_tokens_valid batch_by_size",
        note="a step has a number of sequences: trainer.batch_size and trainer.sequence_length",
    ),
    _row(
        "group_by_length length_column_name train_sampling_strategy sortish_sampler",
        note="rows are packed, so that few have padding, and a step's rows follow from its number alone",
    ),
    _row("dataloader_drop_last drop_last", note="every row is read once an epoch, in batches of one size"),
    _row(
        "pad_to_max_length pad_to_multiple_of padding truncation",
        note="rows are padded to the longest of their batch, rounded up to a multiple of 8",
    ),
    # Length, saving, validation
    _row("max_steps num_train_steps num_training_steps total_steps max_update total_num_update train_steps", "trainer.steps"),
    _row("num_train_epochs num_epochs max_epoch max_epochs n_epochs train_epochs epoch", "trainer.epochs"),
    _row(
        "save_steps save_interval save_interval_updates save_checkpoints_steps checkpoint_every", "trainer.save_every", "in steps"
    ),
    _row("save_total_limit keep_last_epochs keep_interval_updates keep_checkpoint_max max_to_keep", "trainer.keep"),
    _row("save_strategy save_only_model save_on_each_node load_best_model_at_end save_safetensors no_save", note=_SAVED),
    _row("greater_is_better", note="each metric says itself which is better"),
    _row(
        "metric_for_best_model best_checkpoint_metric", "task.metrics", "the first of them; pretraining takes the held-out loss"
    ),
    _row(
        "eval_steps evaluation_steps validate_interval validate_interval_updates val_check_interval",
        "trainer.evaluate_every",
        "in steps",
    ),
    _row("max_eval_samples limit_val_batches max_valid_steps", "trainer.evaluate_batches", "in batches"),
    _row("early_stopping_patience", "trainer.patience", "in validations"),
    _row(
        "do_eval do_train do_predict eval_strategy evaluation_strategy disable_validation eval_on_start eval_delay",
        note="each is a verb of its own (pretrain, finetune, evaluate, predict); trainer.evaluate_every sets "
        "when a run validates",
    ),
    _row(
        "prediction_loss_only eval_accumulation_steps batch_eval_metrics eval_do_concat_batches eval_use_gather_object "
        "include_for_metrics predict_with_generate bf16_full_eval fp16_full_eval",
        note="validation adds up sums and holds no logits, in the precision of the run",
    ),
    _row("logging_steps log_interval logging_interval log_every_n_steps print_every", "trainer.log_every", "in steps"),
    _row(
        "logging_strategy logging_first_step logging_nan_inf_filter log_level log_level_replica log_on_each_node disable_tqdm "
        "include_num_input_tokens_seen include_tokens_per_second skip_memory_metrics log_format no_progress_bar debug",
        note="metrics.jsonl has each logged step with its tokens and speed, log.txt the messages",
    ),
    _row(
        "logging_dir tensorboard_logdir output_dir save_dir run_dir", "runs_dir", "the folder of all runs; a run is runs_dir/name"
    ),
    _row("run_name experiment_name exp_name wandb_name", "name"),
    _row("report_to wandb loggers", "tracker.type"),
    _row("wandb_project", "tracker.project"),
    _row("wandb_mode", "tracker.mode"),
    # Randomness, data order, resumption
    _row("data_seed random_seed manual_seed rng_seed", "seed", "one number for all randomness of a run"),
    _row("full_determinism deterministic", note="every run is deterministic"),
    _row(
        "resume_from_checkpoint ignore_data_skip restore_file reset_optimizer reset_dataloader reset_meters overwrite_output_dir "
        "restore_callback_states_from_checkpoint",
        note="the same command resumes its run exactly; another run takes another name=",
    ),
    _row("streaming", note="text is prepared once and then read through a memory map, whatever its size"),
    _row(
        "shuffle shuffle_buffer_size buffer_size",
        note="the order of rows is a permutation by seed and epoch, over all of the text",
    ),
    _row("dataloader_num_workers num_workers", "trainer.workers"),
    _row("preprocessing_num_workers num_proc", "data.processes"),
    _row(
        "dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor dataloader_in_order accelerator_config "
        "dataloader_multiprocessing_context dispatch_batches split_batches remove_unused_columns",
        note="plmtrain's own loader makes the rows of a step from its number",
    ),
    # Optimiser and schedule
    _row("learning_rate lrate base_lr peak_lr max_lr init_lr", "optimizer.lr", "the peak"),
    _row("adam_beta1 adam_beta2 beta1 beta2 adam_betas", "optimizer.betas", "both of them: [0.9, 0.999]"),
    _row("adam_epsilon adam_eps epsilon", "optimizer.eps"),
    _row("optim optimizer_name optimizer_type", "optimizer.type"),
    _row(
        "optim_args optim_target_modules lr_scheduler_kwargs",
        note="the optimiser and the schedule have keys of their own: optimizer.KEY, schedule.KEY",
    ),
    _row("max_grad_norm clip_grad gradient_clip_val clip_grad_norm grad_clip", "optimizer.clip_norm"),
    _row("adam_bias_correction correct_bias", "optimizer.bias_correction"),
    _row("wd", "optimizer.weight_decay"),
    _row("lr_scheduler_type lr_scheduler lr_schedule scheduler_type", "schedule.type"),
    _row(
        "warmup_steps warmup_updates num_warmup_steps warmup_ratio warmup_proportion warmup_fraction warmup_init_steps",
        "schedule.warmup",
        "steps, or below 1 a share of all steps",
    ),
    _row("end_learning_rate end_lr min_lr min_learning_rate lr_end", "schedule.end", "as a share of the peak"),
    _row("warmup_init_lr", "schedule.start", "as a share of the peak"),
    _row("lr_power", "schedule.power"),
    _row("label_smoothing_factor label_smoothing", note="losses are the papers' cross-entropy, without smoothing"),
    _row("neftune_noise_alpha", note="no noise is added to embeddings"),
    _row(
        "layerwise_lr_decay layer_decay llrd lr_decay_rate lr_layer_decay_rate", note="one learning rate holds for all parameters"
    ),
    _row("ema ema_decay use_ema", note="no average of the weights is kept"),
    # Precision and machine
    _row(
        "fp16 bf16 mixed_precision amp dtype torch_dtype memory_efficient_fp16", "trainer.precision", "auto, fp32, bf16 or fp16"
    ),
    _row(
        "tf32 fp16_opt_level fp16_backend half_precision_backend fp16_init_scale",
        note="trainer.precision says it all: auto, fp32, bf16 or fp16",
    ),
    _row("torch_compile torchdynamo compile_model use_compile", "trainer.compile"),
    _row(
        "torch_compile_backend torch_compile_mode jit_mode_eval use_ipex use_liger_kernel liger_kernel_config "
        "attn_implementation "
        "flash_attention use_flash_attention",
        note="kernels are chosen by the device; trainer.compile is the only switch",
    ),
    _row(
        "gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing "
        "activation_checkpointing_kwargs checkpoint_activations "
        "enable_jit_checkpoint torch_empty_cache_steps",
        note="activations are kept; to save memory, lower trainer.micro_batch_size, which never changes the result",
    ),
    _row("no_cuda use_cpu device_type accelerator use_mps_device", "trainer.device"),
    _row("nproc_per_node num_processes n_gpu world_size distributed_world_size gpus devices num_gpus", "launch.processes"),
    _row("ddp_timeout", "launch.timeout", "in seconds"),
    _row(
        "local_rank ddp_backend ddp_bucket_cap_mb ddp_find_unused_parameters ddp_broadcast_buffers "
        "ddp_static_graph distributed_backend "
        "fsdp fsdp_config deepspeed parallelism_config average_tokens_across_devices fsdp_min_num_params "
        "fsdp_transformer_layer_cls_to_wrap "
        "tpu_num_cores tpu_metrics_debug",
        note="processes train on the same weights with Accelerate; losses are divided by the counts of all processes",
    ),
    _row("num_threads omp_num_threads", "trainer.threads"),
    # The hub and other services
    _row(
        "push_to_hub hub_model_id hub_strategy hub_token hub_private_repo hub_always_push hub_revision "
        "push_to_hub_model_id push_to_hub_token "
        "push_to_hub_organization trackio_space_id trackio_bucket_id trackio_static_space_id mp_parameters",
        note="plmtrain uploads nothing but a tracker's metrics; plmtrain export writes a folder that you can upload",
    ),
    # Data
    _row(
        "train_file train_files train_data train_data_file data_path dataset_path dataset_name data_dir corpus "
        "data.path data.file data.folder "
        "dataset dataset_config_name",
        "data.files",
    ),
    _row("validation_file eval_file eval_data_file valid_data dev_file test_file val_files", "data.validation_files"),
    _row(
        "validation_split_percentage validation_split_fraction val_split test_size eval_split",
        "data.validation_fraction",
        "a share, not per cent",
    ),
    _row("text_column_name text_key text_field", "data.text_column task.text"),
    _row("line_by_line sample_break_mode", "data.document_per", "file, blank_line or line"),
    _row("label_column_name label_names label_key target_column", "task.label"),
    _row("num_labels num_classes id2label label2id", "task.labels", "their names, in order"),
    _row(
        "problem_type task_name finetuning_task",
        note="the type of task is a choice: task=classification, task=regression; see plmtrain list task",
    ),
    _row("dupe_factor", "objective.pair_copies objective.copies"),
    _row("short_seq_prob short_seq_probability", "objective.short_share"),
    # Tokenizer
    _row(
        "tokenizer_name tokenizer_path tokenizer_file vocab_file spm_model_file sentencepiece_model bpe_codes",
        "tokenizer.path",
        "a folder with tokenizer.json",
    ),
    _row("n_words n_token vocabulary_size num_vocab model.vocab_size model_vocab_size vocab", "tokenizer.vocab_size"),
    _row("do_lower_case lower_case uncased do_lower", "tokenizer.lowercase"),
    _row(
        "use_fast_tokenizer strip_accents tokenize_chinese_chars add_prefix_space",
        note="a trained tokenizer normalises text as its family does: tokenizer.family",
    ),
    _row(
        "bos_token_id eos_token_id pad_token_id mask_token_id unk_token_id sep_token_id cls_token_id "
        "decoder_start_token_id forced_eos_token_id "
        "forced_bos_token_id bos_index eos_index pad_index mask_index unk_index pad_token mask_token",
        note=_ROLES,
    ),
    # Starting from a model
    _row(
        "model_name_or_path pretrained_model_name_or_path finetune_from_model init_checkpoint from_pretrained "
        "model_path model.path "
        "_name_or_path load_checkpoint pretrained",
        "init",
    ),
    _row(
        "config_name model_type architectures arch",
        note="the model is a choice: model=bert, model=roberta ...; see plmtrain list model",
    ),
    _row(
        "freeze freeze_layers freeze_encoder freeze_embeddings freeze_backbone freeze_base_model "
        "unfreeze_layers lora use_lora peft_config",
        note="all parameters of the backbone are trained",
    ),
    # Shapes of models
    _row(
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers num_encoder_layers",
        "model.layers",
    ),
    _row("hidden_size d_model n_embd dim encoder_embed_dim decoder_embed_dim emb_dim embed_dim", "model.width"),
    _row(
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads attention_heads",
        "model.heads",
    ),
    _row(
        "intermediate_size d_inner d_ff n_inner hidden_dim encoder_ffn_dim decoder_ffn_dim ffn_dim encoder_ffn_embed_dim "
        "decoder_ffn_embed_dim inner_dim",
        "model.feed_forward",
    ),
    _row("embedding_size", "model.embedding_width"),
    _row("max_position_embeddings n_positions n_ctx max_positions", "model.positions"),
    _row("type_vocab_size num_segments", "model.segments"),
    _row("n_langs lang2id id2lang", "model.languages"),
    _row("lang_id use_lang_emb", "model.languages data.languages", "their names, in order"),
    _row(
        "hidden_act activation_function activation_fn ff_activation gelu_activation dense_act_fn afn",
        "model.activation",
        "gelu, gelu_tanh or relu",
    ),
    _row("layer_norm_eps layer_norm_epsilon layernorm_epsilon", "model.norm_eps"),
    _row(
        "hidden_dropout_prob hidden_dropout dropout_rate resid_pdrop embd_pdrop dropout_prob",
        "model.dropout",
        "of embeddings and of each sub-layer's output",
    ),
    _row(
        "attention_probs_dropout_prob attn_pdrop attn_dropout attention_dropout_prob attention_dropout_rate",
        "model.attention_dropout",
    ),
    _row(
        "classifier_dropout classifier_dropout_prob seq_classif_dropout summary_first_dropout "
        "summary_last_dropout pooler_dropout",
        "task.dropout",
    ),
    _row(
        "qa_dropout activation_dropout encoder_layerdrop decoder_layerdrop relu_dropout layerdrop",
        note="the models have dropout in two places: model.dropout and model.attention_dropout",
    ),
    _row("initializer_range init_std initializer_std embed_init_std", "model.initial_std"),
    _row("num_hidden_groups inner_group_num", "model.shared_layers", "true: one block for all layers"),
    _row(
        "tie_word_embeddings share_decoder_input_output_embed untie_weights",
        note="the head always uses the table of tokens, as in the papers",
    ),
    _row(
        "head_dim d_head d_kv attn_type bi_data same_length clamp_len asm causal is_decoder is_encoder "
        "add_cross_attention is_gated_act "
        "is_encoder_decoder feed_forward_proj sinusoidal_embeddings sinusoidal_pos_embds scale_embedding scale_decoder_outputs "
        "scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn initializer_factor legacy relative_attention "
        "relative_attention_num_buckets relative_attention_max_distance max_relative_positions pos_att_type "
        "position_biased_input "
        "position_embedding_type pooler_hidden_act pooler_hidden_size summary_type summary_use_proj summary_activation "
        "summary_proj_to_labels start_n_top end_n_top use_mems_eval use_mems_train chunk_size_feed_forward",
        note="the family of the model decides it (model=): plmtrain has the shapes of the published ones",
    ),
    _row(
        "use_cache output_attentions output_hidden_states return_dict return_tensors torchscript transformers_version",
        note="it changes no training",
    ),
    # Objectives
    _row(
        "mlm_probability mask_rate mask_ratio masking_rate mask_prob masked_lm_prob mask_percent "
        "masking_probability word_pred plm_probability "
        "mask_fraction",
        "objective.mask_probability",
        "the share of tokens that are predicted",
    ),
    _row("mask_replace_prob word_mask", "objective.mask_share"),
    _row("word_mask_keep_rand", "objective.mask_share", "its last number is objective.random_share"),
    _row(
        "random_replace_prob word_rand random_token_prob rand_prob mask_random",
        "objective.random_share",
        "a share of the tokens that are predicted or masked",
    ),
    _row(
        "leave_unmasked_prob word_keep keep_prob keep_share",
        note="what is left: 1 - objective.mask_share - objective.random_share",
    ),
    _row("whole_word_mask whole_word_masking do_whole_word_mask mask_whole_words wwm", "objective.whole_words"),
    _row("max_predictions_per_seq max_predictions_per_sequence", "objective.max_predictions"),
    _row("mlm", note="the objective is a choice: objective=mlm, objective=dynamic_mlm ...; see plmtrain list objective"),
    _row("max_span_length span_upper", "objective.longest_span objective.max_gram"),
    _row("geometric_p span_p", "objective.stop_probability"),
    _row("max_pair_targets", "objective.boundary_targets"),
    _row("pair_loss_weight", "objective.boundary_weight"),
    _row("ngram max_ngram_size", "objective.max_ngram"),
    _row("disc_weight discriminator_loss_weight rtd_weight rtd_lambda", "objective.discriminator_weight"),
    _row("gen_weight generator_loss_weight", "objective.generator_weight"),
    _row("generator_hidden_size", "objective.generator_width", "as a share of the discriminator's"),
    _row("poisson_lambda mean_noise_span_length", "objective.span_mean"),
    _row("permute_sentences sentence_permutation", "objective.permute"),
    _row("rotate_prob document_rotation", "objective.rotate"),
    _row("insert_prob", "objective.insert"),
    _row("sample_alpha", "objective.frequency_exponent", "frequencies to minus this power"),
    _row("lg_sampling_factor multilang_sampling_alpha", "objective.language_exponent"),
    # Generation, which predict does
    _row(
        "generation_max_length generation_num_beams generation_config num_beams no_repeat_ngram_size",
        note="they are options of plmtrain predict: --max-length, --beams",
    ),
)
"""Every row; the comments name the groups."""

_BY_NAME = {name: row for row in TABLE for name in row.theirs.split()}


_OTHER_CHOICES = frozenset(
    # models
    "bigbird camembert deberta elmo ernie flaubert funnel gpt gpt2 gpt3 longformer luke mass mbart minilm mobilebert modernbert mpnet mt5 "
    "roformer t5 tinybert xlm_roberta xlmr "
    # objectives
    "causal_lm clm distillation lm mass prefix_lm span_corruption t5 "
    # optimisers
    "adafactor adagrad adam lars lion muon rmsprop sgd shampoo sophia "
    # schedules
    "cosine_with_restarts exponential onecycle reduce_lr_on_plateau step".split()
)
"""Published models, objectives, optimisers and schedules whose names are spelled like those of others: DeBERTa is not RoBERTa."""


def is_something_else(name: str) -> bool:
    """Return whether a choice's name is that of a published system, which one of similar spelling must not stand in for."""
    plain = name.lower().replace("-", "_")
    return plain in _OTHER_CHOICES or any(plain.startswith(f"{other}_") for other in _OTHER_CHOICES)


def elsewhere(key: str) -> Elsewhere | None:
    """Return the row of a name that another tool has for a setting.

    Args:
        key: as the user wrote it: a full key, a name without group, or an option such as ``--warmup-updates``.
    """
    plain = key.lstrip("-").replace("-", "_")
    return _BY_NAME.get(plain) or _BY_NAME.get(plain.rpartition(".")[2])


def remedy(key: str, row: Elsewhere, valid: Iterable[str] | None = None) -> str:
    """Return the line that says what plmtrain has for a name of another tool.

    Args:
        key: as the user wrote it.
        row: what ``elsewhere`` returned for it.
        valid: the full keys of the run; None where they are not known.
    """
    if not row.ours:
        return f"there is none: {row.note}"
    note = f" ({row.note})" if row.note else ""
    if valid is None:
        return f"that is {' or '.join(row.ours)} here{note}"
    here = [name for ours in row.ours for name in _places(ours, key, list(valid))]
    if here:
        return f"that is {' or '.join(here)} here{note}"
    return f"that is {' or '.join(row.ours)} here, which this run does not have"


def _places(ours: str, key: str, valid: list[str]) -> list[str]:
    """Return the keys of a run that are a key of ours: beside the one that was written, or in its own place."""
    beside = f"{key.rpartition('.')[0]}.{ours.rpartition('.')[2]}"
    exact = [name for name in (beside, ours) if name in valid and name.split(".")[0] in (ours.split(".")[0], "trainer")]
    return exact[:1] or [name for name in valid if name.endswith(f".{ours}")]
