// SPDX-License-Identifier: Apache-2.0
// Names from llm-compressor, ModelOpt, AutoGPTQ and GPTQModel, AutoRound, Quark, llama.cpp and
// lm-evaluation-harness, where they mean one thing only.
#include "common/foreign.hpp"

namespace fpq::tools {

namespace {

constexpr std::string_view model = "--model_name_or_path DIR";
constexpr std::string_view text = "--dataset_name_or_path FILE (text, a directory, or self)";
constexpr std::string_view windows = "--num_sequences N";
constexpr std::string_view length = "--sequence_length N";
constexpr std::string_view w_bits = "--w_bits N (inputs: --a_bits N)";
constexpr std::string_view a_bits = "--a_bits N";
constexpr std::string_view group = "--w_group_size N (inputs: --a_group_size N)";
constexpr std::string_view format =
    "--format int, fp, nvfp or mxfp with --w_bits and --a_bits (or nvfp4, mxfp4)";
constexpr std::string_view place = "--save_path DIR";
constexpr std::string_view order = "--quantization_order activation";
constexpr std::string_view damping = "--rel_damp X";
constexpr std::string_view layout =
    "--export_format auto, compressed-tensors, fp_quant, modelopt or gguf";
constexpr std::string_view ignored = "--ignore PATTERN";
constexpr std::string_view some = "--rule PATTERN=PRESET, and --ignore PATTERN";
constexpr std::string_view rotation = "--transform_class hadamard";
constexpr std::string_view tasks =
    "not run: evaluate the export with lm-evaluation-harness, or --eval_perplexity --eval_data "
    "FILE";
constexpr std::string_view cpu = "--device auto, cpu, cuda or cuda:N";
constexpr std::string_view layers = "not needed: one layer is in memory at a time";
constexpr std::string_view words = "not needed: the model's own tokenizer is used";
constexpr std::string_view remote = "not needed: no code of a model is run";
constexpr std::string_view cache = "not there: keys and values are not quantized";

}  // namespace

std::vector<foreign_flag> quantize_foreign() {
    return {{"model", model},
            {"model_path", model},
            {"model_id", model},
            {"model_dir", model},
            {"model_name", model},
            {"pretrained", model},
            {"pretrained_model_name_or_path", model},
            {"pyt_ckpt_path", model},
            {"checkpoint", model},
            {"input", model},
            {"input_dir", model},
            {"-m", model},
            {"tokenizer", words},
            {"tokenizer_name", words},
            {"trust_remote_code", remote},
            {"dataset", text},
            {"dataset_name", text},
            {"dataset_path", text},
            {"data", text},
            {"data_path", text},
            {"calib_dataset", text},
            {"calib_data", text},
            {"calib_file", text},
            {"calibration", text},
            {"calibration_data", text},
            {"calibration_dataset", text},
            {"nsamples", windows},
            {"n_samples", windows},
            {"num_samples", windows},
            {"calib_size", windows},
            {"calib_samples", windows},
            {"num_calib_data", windows},
            {"num_calib_samples", windows},
            {"num_calibration_samples", windows},
            {"max_calib_samples", windows},
            {"seqlen", length},
            {"seq_len", length},
            {"seq_length", length},
            {"max_length", length},
            {"max_seq_len", length},
            {"max_seq_length", length},
            {"max_sequence_length", length},
            {"model_max_length", length},
            {"model_seqlen", length},
            {"calib_seqlen", length},
            {"calib_seq_len", length},
            {"calib_seq", length},
            {"calib_length", length},
            {"bits", w_bits},
            {"wbits", w_bits},
            {"w_bit", w_bits},
            {"nbits", w_bits},
            {"num_bits", w_bits},
            {"weight_bits", w_bits},
            {"abits", a_bits},
            {"a_bit", a_bits},
            {"act_bits", a_bits},
            {"input_bits", a_bits},
            {"group_size", group},
            {"groupsize", group},
            {"q_group_size", group},
            {"block_size", group},
            {"w_groupsize", "--w_group_size N"},
            {"a_groupsize", "--a_group_size N"},
            {"act_group_size", "--a_group_size N"},
            {"scheme", format},
            {"qformat", format},
            {"quant_format", format},
            {"quant_scheme", format},
            {"quant_cfg", format},
            {"quant_type", format},
            {"quant_algo", format},
            {"quantization", format},
            {"quantize", format},
            {"precision", format},
            {"type", format},
            {"data_type", format},
            {"preset", "--rule Linear=PRESET, or --format"},
            {"output", place},
            {"output_dir", place},
            {"output_path", place},
            {"out", place},
            {"out_dir", place},
            {"outfile", place},
            {"save", place},
            {"save_dir", place},
            {"save_directory", place},
            {"save_quant", place},
            {"export_dir", place},
            {"export_path", place},
            {"quantized_model_dir", place},
            {"-o", place},
            {"export_fmt", layout},
            {"export", layout},
            {"layout", layout},
            {"backend", layout},
            {"save_format", layout},
            {"save_compressed", layout},
            {"pseudo_quant", "--export_quantized_model pseudoquant"},
            {"fake_quant", "--export_quantized_model pseudoquant"},
            {"act_order", order},
            {"actorder", order},
            {"desc_act", order},
            {"static_groups", order},
            {"true_sequential", "not needed: layers are quantized one after the other"},
            {"sequential", "not needed: layers are quantized one after the other"},
            {"percdamp", damping},
            {"damp_percent", damping},
            {"dampening_frac", damping},
            {"damping", damping},
            {"sym", "the default; --asymmetric for a zero point"},
            {"symmetric", "the default; --asymmetric for a zero point"},
            {"asym", "--asymmetric"},
            {"zero_point", "--asymmetric"},
            {"observer", "--w_observer and --a_observer"},
            {"mse", "--w_observer mse"},
            {"method", "--gptq and --polish N; without them rounding to nearest"},
            {"algorithm", "--gptq and --polish N; without them rounding to nearest"},
            {"quant_method", "--gptq and --polish N; without them rounding to nearest"},
            {"rtn", "the default: --gptq is not given"},
            {"awq", "--smooth awq"},
            {"smoothquant", "--smooth smoothquant"},
            {"smoothing_strength", "--smooth_alpha X"},
            {"rotate", rotation},
            {"rotation", rotation},
            {"transform", rotation},
            {"hadamard", rotation},
            {"init", rotation},
            {"exclude", ignored},
            {"exclude_layers", ignored},
            {"ignore_layers", ignored},
            {"ignored_layers", ignored},
            {"ignore_modules", ignored},
            {"disable_modules", ignored},
            {"modules_to_not_convert", ignored},
            {"skip_modules", ignored},
            {"skip_layers", ignored},
            {"targets", some},
            {"target_modules", some},
            {"layer_config", some},
            {"quant_lm_head", "--ignore '' (lm_head is ignored by default)"},
            {"config", "--recipe FILE"},
            {"config_file", "--recipe FILE"},
            {"tasks", tasks},
            {"eval_tasks", tasks},
            {"limit", tasks},
            {"num_fewshot", tasks},
            {"eval", "--eval_perplexity"},
            {"eval_ppl", "--eval_perplexity"},
            {"ppl", "--eval_perplexity"},
            {"eval_dataset", "--eval_perplexity --eval_data FILE"},
            {"eval_text", "--eval_perplexity --eval_data FILE"},
            {"batch_size", layers},
            {"calib_batch_size", layers},
            {"device_map", cpu},
            {"gpu", cpu},
            {"gpus", cpu},
            {"num_gpus", cpu},
            {"low_gpu_mem_usage", layers},
            {"low_cpu_mem_usage", layers},
            {"cpu_offload", layers},
            {"torch_dtype", "--dtype auto"},
            {"n_threads", "--threads N"},
            {"num_threads", "--threads N"},
            {"nthreads", "--threads N"},
            {"jobs", "--threads N"},
            {"kv_cache_dtype", cache},
            {"kv_cache_qformat", cache},
            {"dry", "--dry_run"},
            {"shard_size", "--max_shard_size BYTES"}};
}

std::vector<foreign_flag> evaluate_foreign() {
    constexpr std::string_view checkpoint = "--model DIR";
    constexpr std::string_view original = "--reference DIR";
    constexpr std::string_view file = "--text FILE";
    constexpr std::string_view perplexity = "not run: it measures perplexity and KL on --text FILE";
    constexpr std::string_view result = "--json FILE";
    return {{"model_name_or_path", checkpoint},
            {"model_path", checkpoint},
            {"model_dir", checkpoint},
            {"model_args", checkpoint},
            {"pretrained", checkpoint},
            {"quantized", checkpoint},
            {"checkpoint", checkpoint},
            {"-m", checkpoint},
            {"base", original},
            {"base_model", original},
            {"original", original},
            {"teacher", original},
            {"ref", original},
            {"reference_model", original},
            {"tasks", perplexity},
            {"num_fewshot", perplexity},
            {"apply_chat_template", perplexity},
            {"dataset", file},
            {"dataset_name_or_path", file},
            {"data", file},
            {"eval_data", file},
            {"file", file},
            {"-f", file},
            {"seqlen", length},
            {"seq_len", length},
            {"max_length", length},
            {"max_seq_len", length},
            {"ctx_size", length},
            {"-c", length},
            {"limit", "--max_windows N"},
            {"nsamples", "--max_windows N"},
            {"num_sequences", "--max_windows N"},
            {"eval_windows", "--max_windows N"},
            {"eval_characters", "--max_characters N"},
            {"eval_bos", "--bos WORD"},
            {"add_bos_token", "--bos auto"},
            {"output", result},
            {"output_path", result},
            {"output_dir", result},
            {"report", result},
            {"batch_size", layers},
            {"tokenizer", words},
            {"trust_remote_code", remote},
            {"num_threads", "--threads N"},
            {"-t", "--threads N"}};
}

std::vector<foreign_flag> inspect_foreign() {
    constexpr std::string_view word = "a word without a flag: fpq-inspect DIR";
    return {{"model", word},
            {"model_name_or_path", word},
            {"model_path", word},
            {"path", word},
            {"checkpoint", word},
            {"-m", word},
            {"base", "--reference DIR"},
            {"base_model", "--reference DIR"},
            {"original", "--reference DIR"},
            {"ref", "--reference DIR"},
            {"check", "--verify"}};
}

}  // namespace fpq::tools
