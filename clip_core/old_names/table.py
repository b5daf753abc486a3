"""Settings that had other names in 0.1. The old names are still taken, and the log says what to write instead.

One table for environment variables, files of secrets, keys of the configuration file, keys of an endpoint's YAML, and
what requests say. An entry may go one minor release after the rename (docs/versioning.md).
"""

from __future__ import annotations

from collections.abc import Mapping

OLD_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "CLIPSERVE_": {"stop_patience": "stop_timeout"},
    "CLIPSERVE_GATEWAY_": {
        "assistant_api": "llm_api",
        "assistant_api_key": "llm_api_key",
        "assistant_cache": "llm_cache",
        "assistant_concurrency": "llm_concurrency",
        "assistant_key_concurrency": "llm_key_concurrency",
        "assistant_key_usd_per_day": "llm_key_usd_per_day",
        "assistant_max_tokens": "llm_max_tokens",
        "assistant_model": "llm_model",
        "assistant_prices_file": "llm_prices_file",
        "assistant_prompt_tokens": "llm_prompt_tokens",
        "assistant_retries": "llm_retries",
        "assistant_timeout_s": "llm_timeout_s",
        "assistant_url": "llm_url",
        "assistant_usd_per_day": "llm_usd_per_day",
        "assistant_vision": "llm_vision",
        "burst_wait_s": "admission_timeout_s",
        "fan_out_width": "fan_out_concurrency",
        "large_answers": "max_large_answers",
        "max_clients": "max_client_connections",
        "max_connections": "max_upstream_connections",
        "max_held_bytes": "max_buffered_bytes",
        "max_unfinished": "max_incomplete_bodies",
        "share_above": "coalesce_min_in_flight",
        "text_model": "chat_model",
        "text_model_url": "chat_model_url",
        "wake_wait_s": "cold_start_timeout_s",
    },
    "CLIPSERVE_HANDLER_": {"allow_web_pages": "allow_cross_origin"},
    "CLIPSERVE_INDEX_": {
        "build_apart_rows": "build_process_min_rows",
        "compact_rows": "merge_min_rows",
        "milvus_look_s": "milvus_refresh_interval_s",
        "milvus_settle_s": "milvus_watermark_delay_s",
        "quiet_merge_s": "merge_idle_s",
        "recall_sample_share": "recall_sample_rate",
        "reserve_mb": "disk_reserve_mb",
    },
    "CLIPSERVE_SCALER_": {
        "calm_s": "stabilization_window_s",
        "ceiling": "max_utilization",
        "every_s": "poll_interval_s",
        "idle_s": "scale_to_zero_after_s",
        "least": "min_replicas",
        "minute_s": "series_step_s",
        "most": "max_replicas",
        "outlet": "actuator",
        "per_worker": "items_per_replica",
        "target": "target_utilization",
    },
}
"""By the prefix of the variables: old name → name."""
OLD_ENDPOINT_KEYS: Mapping[str, str] = {
    "caption_absorbed": "caption_weight_absorption",
    "caption_cache": "caption_kv_cache",
    "caption_cache_block": "caption_kv_cache_block_size",
    "caption_cache_bytes": "caption_kv_cache_bytes",
    "caption_drafts": "caption_speculative_decoding",
    "caption_memory_bytes": "caption_image_cache_bytes",
    "caption_rows": "caption_max_sequences",
    "caption_waiting": "caption_max_waiting",
    "pass_tokens": "pass_overhead_tokens",
}
"""The same of an endpoint's YAML."""
OLD_CAPTION_WRITERS: Mapping[str, str] = {"assistant": "llm"}
"""The same of who writes captions, in requests and flags."""
OLD_ROUTES: Mapping[str, str] = {"/v1/captions/assistant": "/v1/captions/llm"}
"""The same of routes of the gateway."""
