# shellcheck shell=bash
# The steps of scripts/deploy.sh, which gives them: program and migrations (Tidemark's), state (a folder), dry, fly_toml, image,
# image_note (a file of state) and fly_flags. Each runs in a shell of its own and ends it with an error where it fails.
# shellcheck disable=SC2154 # Those are set there.

say() { printf '%s\n' "$*"; }

# Ends the step.
fail() {
  printf 'deploy: %s\n' "$*" >&2
  exit 1
}

tidemark() { "${program[@]}" "$@"; }

# A field of a JSON document, or of the first one of a list.
field() {
  node -e 'const read = JSON.parse(require("node:fs").readFileSync(0, "utf8")); console.log((Array.isArray(read) ? read[0] : read)?.[process.argv[1]] ?? "")' "$1"
}

# Rows of a statement in deploy/, a line each, columns apart by tabs.
ask() {
  tidemark sql --json -- "$(<"$here/deploy/$1.sql")" |
    node -e 'for (const row of JSON.parse(require("node:fs").readFileSync(0, "utf8"))) console.log(Object.values(row).join("\t"))'
}

# Where the schema is, as `migrate --status` tells it, which exits 1 where something is to be applied.
schema() {
  local status
  status=$(tidemark migrate --status --json 2>"$state/schema.err" || true)
  [[ -n $status ]] || fail "the schema cannot be read: $(<"$state/schema.err")"
  say "$status"
}

hold_invariants() {
  local told
  told=$(tidemark verify 2>&1) || fail "an invariant does not hold, or could not be looked at:
$told"
  say "every invariant holds"
}

step_backup() {
  local url=${DIRECT_DATABASE_URL:-${DATABASE_URL:-}} address
  # It is the whole database: for nobody else on this host.
  umask 077
  BACKUP_FILE=$state/backup-$(date -u +%Y%m%dT%H%M%SZ).dump
  export BACKUP_FILE
  if $dry; then
    say "dry run: would write $BACKUP_FILE"
    return
  fi
  if [[ -n ${BACKUP_COMMAND:-} ]]; then
    bash -c "$BACKUP_COMMAND" || fail "BACKUP_COMMAND ended with $?"
  else
    address=$(URL=$url node "$here/deploy/address.ts")
    eval "$address"
    pg_dump --format=custom --file="$BACKUP_FILE" || fail "pg_dump ended with $?"
  fi
  [[ -s $BACKUP_FILE ]] || fail "there is nothing in $BACKUP_FILE"
  say "backup: $BACKUP_FILE"
}

step_preflight() {
  local lost doubled failed waiting first=() schema version accepted
  # What stands in the way of a deploy for want of migrations, the next step does away with.
  read -ra accepted <<<"schema queue_schema ${DOCTOR_ACCEPT:-}"
  schema=$(schema)
  version=$(field version <<<"$schema")
  if [[ -z $version ]]; then
    say "there is no schema yet: this is the first deploy"
    first=(--first)
  else
    hold_invariants
    IFS=$'\t' read -r lost doubled failed waiting < <(ask outcome) || fail "the inbox cannot be read"
    say "lost $lost, doubled $doubled, failed $failed, waiting $waiting"
    ((waiting <= ${BACKLOG_MAX:-1000})) || fail "$waiting messages wait, and BACKLOG_MAX is ${BACKLOG_MAX:-1000}"
    ((failed <= ${FAILED_MAX:-100})) || fail "$failed messages are FAILED or DEAD, and FAILED_MAX is ${FAILED_MAX:-100}"
  fi
  # Exit 1 of doctor says no more than its document does.
  (tidemark doctor --json --fly "$fly_toml" || true) >"$state/doctor.json"
  node "$here/deploy/findings.ts" ${first[@]+"${first[@]}"} "${accepted[@]}" <"$state/doctor.json" ||
    fail "doctor found that; mend it, or name the check in DOCTOR_ACCEPT"
  say "doctor has nothing against it"
}

# The oldest release that the schema would serve after the migrations that are not applied yet.
would_serve_from() {
  local applied=$1 most=$2 version oldest
  while read -r version oldest; do
    if ((version > applied && oldest > most)); then most=$oldest; fi
  done < <(sed -nE 's/.*INTO service_ops\.schema_window \(schema_version, oldest_code\) VALUES \(([0-9]+), ([0-9]+)\).*/\1 \2/p' "$migrations"/*.sql)
  say "$most"
}

apply_migrations() {
  tidemark migrate || fail "migrate ended with $?"
  tidemark migrate --status || fail "the migrations did not take"
}

step_migrate() {
  local schema applied oldest next alive
  schema=$(schema)
  applied=$(field version <<<"$schema")
  oldest=$(field oldestCode <<<"$schema")
  if $dry; then
    say "dry run: would migrate; now:"
    tidemark migrate --status || true
    return
  fi
  next=$(would_serve_from "${applied:-0}" "${oldest:-0}")
  if [[ -n $applied ]] && ((next > oldest)); then
    alive=$(ask instances)
    [[ -z $alive ]] || fail "these migrations end the service to releases before schema version $next, and somebody is at work: scripts/deploy.sh --contract"
  fi
  apply_migrations
}

# Which app that is to flyctl: what it was told after `--`, where it was told.
app_flags() {
  local i word
  for ((i = 0; i < ${#fly_flags[@]}; i += 1)); do
    word=${fly_flags[i]}
    case $word in
      -a | --app) printf '%s\n%s\n' "$word" "${fly_flags[i + 1]-}" ;;
      --app=* | -a?*) printf '%s\n' "$word" ;;
    esac
  done
}

# The image of the newest release that came to its end: one that failed, or is under way, serves nobody.
image_that_serves() {
  local app=() word
  while IFS= read -r word; do app+=("$word"); done < <(app_flags)
  flyctl releases --config "$fly_toml" ${app[@]+"${app[@]}"} --image --json |
    node -e 'const read = JSON.parse(require("node:fs").readFileSync(0, "utf8")); console.log(read.find(({ Status: status = "" }) => !/fail|interrupt|cancel|running|pending/i.test(status))?.ImageRef ?? "")'
}

# What runs now is blue; how things stand now is before.
note_blue() {
  : >"$state/blue"
  : >"$state/before"
  local schema version
  schema=$(schema)
  version=$(field version <<<"$schema")
  if [[ -n $version ]]; then
    ask instances | cut -f 2,3 >"$state/blue"
    ask outcome >"$state/before"
  fi
  # Without a release there is no image, and a rollback has to be told one.
  { image_that_serves >"$state/$image_note"; } 2>/dev/null || : >"$state/$image_note"
  # For a rollback, which is to be of the same app.
  say "$fly_toml" >"$state/fly"
}

step_deploy() {
  local command=(flyctl deploy --config "$fly_toml")
  if [[ -n $image ]]; then command+=(--image "$image"); fi
  command+=(${fly_flags[@]+"${fly_flags[@]}"})
  if $dry; then
    say "dry run: would run ${command[*]}"
    return
  fi
  note_blue
  "${command[@]}" || fail "flyctl ended with $?"
}

# Why green has not taken over yet; nothing when it has.
not_handed_over() {
  local lines machine_state release machine instance task leader green=() wanted
  lines=$(ask instances) || { say "the database did not answer"; return; }
  while IFS=$'\t' read -r machine_state release machine instance _; do
    if [[ -z $instance ]]; then continue; fi
    if grep -Fxq "$release"$'\t'"$machine" "$state/blue"; then
      say "blue is still there: $instance ($release) is $machine_state"
      return
    fi
    if [[ $machine_state != ready ]]; then
      say "green is not ready: $instance ($release) is $machine_state"
      return
    fi
    green+=("$instance")
  done <<<"$lines"
  wanted=$(wc -l <"$state/blue")
  wanted=${MACHINES_MIN:-$((wanted > 0 ? wanted : 1))}
  if ((${#green[@]} < wanted)); then
    say "green has ${#green[@]} machines of $wanted"
    return
  fi
  lines=$(ask leaders) || { say "the database did not answer"; return; }
  while IFS=$'\t' read -r task leader; do
    if [[ -n $task && " ${green[*]-} " != *" $leader "* ]]; then
      say "$task is led by $leader, which is not green"
      return
    fi
  done <<<"$lines"
}

step_wait() {
  local limit=${WAIT_SECONDS:-300} why
  if $dry; then
    say "dry run: would wait until green leads and blue is gone"
    return
  fi
  [[ -f $state/blue ]] || fail "which machines are blue is not known: run the step deploy first"
  local deadline=$((SECONDS + limit))
  while :; do
    why=$(not_handed_over) || why="who is at work could not be looked at"
    [[ -n $why ]] || break
    ((SECONDS < deadline)) || fail "after $limit s: $why"
    sleep 1
  done
  say "green is ready and leads; blue is gone"
}

step_verify() {
  local schema
  if $dry; then
    schema=$(schema)
    if [[ -z $(field version <<<"$schema") ]]; then
      say "dry run: there is no schema yet to be verified"
      return
    fi
  fi
  hold_invariants
}

step_compare() {
  local lost doubled failed waiting was_lost=0 was_doubled=0 was_failed=0 more=${MORE_FAILED_MAX:-20}
  if $dry; then
    say "dry run: nothing to compare"
    return
  fi
  [[ -f $state/before ]] || fail "how it was before is not known: run the step deploy first"
  if [[ -s $state/before ]]; then IFS=$'\t' read -r was_lost was_doubled was_failed _ <"$state/before"; fi
  IFS=$'\t' read -r lost doubled failed waiting < <(ask outcome) || fail "the inbox cannot be read"
  say "lost     $was_lost before, $lost after"
  say "doubled  $was_doubled before, $doubled after"
  say "failed   $was_failed before, $failed after"
  say "waiting  $waiting"
  ((lost <= was_lost)) || fail "$((lost - was_lost)) rows were lost"
  ((doubled <= was_doubled)) || fail "$((doubled - was_doubled)) messages ran twice without a reason on record"
  ((failed <= was_failed + more)) || fail "$((failed - was_failed)) more messages are FAILED or DEAD, and MORE_FAILED_MAX is $more"
}

# Expand now, contract a release later: only when nobody is left whom the old form serves.
step_contract() {
  local schema applied oldest next lines release instance started_on
  schema=$(schema)
  applied=$(field version <<<"$schema")
  oldest=$(field oldestCode <<<"$schema")
  [[ -n $applied ]] || fail "there is no schema yet"
  next=$(would_serve_from "$applied" "$oldest")
  if ((next <= oldest)); then
    say "nothing to clean up: the schema goes on serving releases from version $oldest on"
    return
  fi
  say "the schema serves releases from version $oldest on, and then from $next on: after this no rollback leads behind $next"
  lines=$(ask instances)
  if [[ $(cut -f 2 <<<"$lines" | sort -u | wc -l) -gt 1 ]]; then
    fail "more than one release is at work: $(cut -f 2 <<<"$lines" | sort -u | paste -sd ' ' -)"
  fi
  while IFS=$'\t' read -r _ release _ instance started_on; do
    if [[ -n $instance ]] && ((started_on < next)); then
      fail "$instance ($release) started on schema version $started_on, so its code may be older than $next"
    fi
  done <<<"$lines"
  if $dry; then
    say "dry run: would migrate"
    return
  fi
  apply_migrations
  hold_invariants
  lines=$(ask instances)
  if [[ -n $lines ]] && grep -qv '^ready' <<<"$lines"; then fail "somebody is no longer ready: $lines"; fi
}
