#!/usr/bin/env bash
# Deploys on Fly.io in steps, each of which can be run alone: docs/operations.md says what each looks at.
set -euo pipefail

usage() {
  cat <<'USAGE'
scripts/deploy.sh [--backup] [--dry-run] [--image IMAGE] [--fly FILE] [STEP ...] [-- FLYCTL FLAGS]
scripts/deploy.sh --contract

Run it where the config and fly.toml are, with DATABASE_URL (and DIRECT_DATABASE_URL) of the app.

step       does                                                                    when it fails
backup     pg_dump, or BACKUP_COMMAND, into BACKUP_FILE; only with --backup        10
preflight  verify, backlog and failures low, doctor                                11
migrate    migrates, and sees that it took                                         12
deploy     notes what runs, then flyctl deploy                                     13
wait       until green is ready, leads, and blue is gone                           14
verify     every invariant                                                         15
compare    lost, doubled and failed, as before the deploy                          16
contract   later: the migrations that older releases do not survive                17

Exit code 0: all steps done; 64: the command line. Without flyctl on the PATH, or with --dry-run, nothing is changed.

variable          default   meaning
BACKLOG_MAX       1000      messages that may wait when a deploy begins
FAILED_MAX        100       messages that may be FAILED or DEAD then
MORE_FAILED_MAX   20        how many more there may be after it
WAIT_SECONDS      300       how long green and blue have to hand over
MACHINES_MIN      as blue   machines of green
DOCTOR_ACCEPT     none      names of checks whose findings are known and lived with
BACKUP_COMMAND    pg_dump   run by bash, with BACKUP_FILE in its environment
DEPLOY_STATE      .tidemark/deploy   what one step notes for another
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
state=${DEPLOY_STATE:-.tidemark/deploy}
# The project's own Node, where it was installed: that of the host may be too old.
if [[ -x $root/node_modules/.bin/node ]]; then PATH=$root/node_modules/.bin:$PATH; fi
if [[ -f $root/bin/tidemark.js ]]; then
  program=(node "$root/bin/tidemark.js")
  migrations=$root/sql/migrations
else
  # Copied into an app that has the package installed.
  program=("$root/node_modules/.bin/tidemark")
  migrations=$root/node_modules/tidemark/sql/migrations
fi

dry=false
fly_toml=fly.toml
image=
# A rollback has another: until it has come to its end, the image that it goes back to stays noted.
image_note=${DEPLOY_IMAGE_NOTE:-image}
fly_flags=()
steps=()

# shellcheck source=scripts/deploy/steps.sh
source "$here/deploy/steps.sh"

way_back() {
  case $1 in
    backup | preflight) say "Nothing was changed, so nothing has to be taken back." ;;
    migrate) say "No machine was replaced, and what runs goes on: migrations only add. Mend it and go on with: $(command_for scripts/deploy.sh ${image:+--image "$image"} migrate deploy wait verify compare)" ;;
    deploy) say "Blue goes on where green did not get ready: flyctl status, flyctl logs. If both run: $(command_for scripts/rollback.sh)" ;;
    contract) say "What runs fits the schema as it is; look with: tidemark migrate --status. A migration that was applied is not taken back: restore the backup, or mend it by a newer one." ;;
    *) say "To go back to the release before: $(command_for scripts/rollback.sh)" ;;
  esac
}

# The command with what tells which app it is about.
command_for() {
  local words=("$@")
  if [[ $fly_toml != fly.toml ]]; then words+=(--fly "$fly_toml"); fi
  if ((${#fly_flags[@]} > 0)); then words+=(-- "${fly_flags[@]}"); fi
  printf '%q ' "${words[@]}"
}

code_of() {
  case $1 in
    backup) say 10 ;; preflight) say 11 ;; migrate) say 12 ;; deploy) say 13 ;;
    wait) say 14 ;; verify) say 15 ;; compare) say 16 ;; contract) say 17 ;;
    *) return 1 ;;
  esac
}

misused() {
  printf 'deploy: %s (scripts/deploy.sh --help)\n' "$1" >&2
  exit 64
}

backup=false
while (($# > 0)); do
  case $1 in
    --help) usage && exit 0 ;;
    --backup) backup=true ;;
    --dry-run) dry=true ;;
    --contract) steps+=(contract) ;;
    --image | --fly)
      (($# > 1)) || misused "$1 needs a value"
      if [[ $1 == --image ]]; then image=$2; else fly_toml=$2; fi
      shift
      ;;
    --)
      shift
      fly_flags=("$@")
      break
      ;;
    *)
      code_of "$1" >/dev/null || misused "$1 is neither a step nor a flag"
      steps+=("$1")
      ;;
  esac
  shift
done
if ((${#steps[@]} == 0)); then steps=(preflight migrate deploy wait verify compare); fi
if $backup; then steps=(backup "${steps[@]}"); fi
[[ -n ${DATABASE_URL:-} ]] || misused "DATABASE_URL is not set"
if ! $dry && ! command -v flyctl >/dev/null; then
  say "flyctl is not on the PATH: a dry run, which changes nothing"
  dry=true
fi
mkdir -p "$state"

for step in "${steps[@]}"; do
  say "== $step"
  # In a shell of its own, and in no condition, or errors within would not end it.
  set +e
  (
    set -e
    "step_$step"
  )
  ended=$?
  set -e
  if ((ended != 0)); then
    code=$(code_of "$step")
    printf 'deploy: the step %s failed, exit code %s. %s\n' "$step" "$code" "$(way_back "$step")" >&2
    exit "$code"
  fi
done
if $dry; then say "== dry run: nothing was changed"; else say "== done: ${steps[*]}"; fi
