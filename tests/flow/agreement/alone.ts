import type { MetricName } from '../../../src/telemetry/metrics/catalog.ts'

/** Told by nobody else, or no number of the system: each with its reason. */
export const ALONE: Readonly<Partial<Record<MetricName, string>>> = {
  tidemark_messages_reclaimed_total: 'nothing was to be reclaimed, and no table keeps how often it was',
  tidemark_message_latency_seconds:
    'its number of messages is messages_processed_total; the rest is kept nowhere else',
  tidemark_handler_duration_seconds: 'kept nowhere else',
  tidemark_sweep_found_total: 'nothing was to be found',
  tidemark_edge_lag_expected_seconds: 'made of the config',
  tidemark_leader_gap_seconds: 'of each change, which /metrics tells only in buckets',
  tidemark_stale_writes_refused_total: 'nothing was refused',
  tidemark_jobs_total: 'of upkeep, which goes on',
  tidemark_job_duration_seconds: 'of upkeep, which goes on',
  tidemark_deliveries_total: 'nothing is delivered here',
  tidemark_database_numbers_age_seconds: 'of the reading itself',
  tidemark_database_errors_total: 'of this process',
  tidemark_pool_connections: 'of this process',
  tidemark_pool_connections_limit: 'of this process',
  tidemark_pool_pressure: 'of this process',
  tidemark_active_requests: 'of this process',
  tidemark_event_loop_lag_seconds: 'of this process',
  tidemark_up_since_seconds: 'of this process; its row tells when it was registered',
  tidemark_build_info: 'always 1',
  process_cpu_seconds_total: 'of this process',
  process_resident_memory_bytes: 'of this process',
  process_start_time_seconds: 'of this process',
  nodejs_heap_size_used_bytes: 'of this process',
}

/** The same of what the status document and the views have. */
export const ALONE_FIELDS: Readonly<Record<string, string>> = {
  'instances.seen_seconds_ago': 'a heartbeat sets it back every two seconds',
  'slot_status.waiting': 'in no status: of every key that ever had a message',
  'task_status.id': 'compared as the id of its poller, processor or job',
}
