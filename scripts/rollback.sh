#!/usr/bin/env bash
# Goes back to the image that served before the last scripts/deploy.sh, or to the one that is named, by the same blue-green
# deploy. The schema stays: it serves older releases within its window, and the older release's own `migrate`, which is
# fly.toml's release command, refuses where it does not.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${DEPLOY_STATE:-.tidemark/deploy}
dry=false
image=
fly_toml=
fly_flags=()
while (($# > 0)); do
  case $1 in
    --help)
      echo "scripts/rollback.sh [--dry-run] [--fly FILE] [IMAGE] [-- FLYCTL FLAGS]    exit codes: as scripts/deploy.sh; 64: no image, 69: no flyctl"
      exit 0
      ;;
    --dry-run) dry=true ;;
    --fly)
      if (($# < 2)); then
        echo "rollback: --fly needs a value" >&2
        exit 64
      fi
      fly_toml=$2
      shift
      ;;
    --)
      shift
      fly_flags=("$@")
      break
      ;;
    -*)
      echo "rollback: $1 is no flag (scripts/rollback.sh --help)" >&2
      exit 64
      ;;
    *) image=$1 ;;
  esac
  shift
done
if [[ -z $image && -s $state/image ]]; then image=$(<"$state/image"); fi
# The app that was deployed last, whose image that is.
if [[ -z $fly_toml && -s $state/fly ]]; then fly_toml=$(<"$state/fly"); fi
if [[ -z $image ]]; then
  echo "rollback: which image? flyctl releases --image lists them, then: scripts/rollback.sh IMAGE" >&2
  exit 64
fi
if ! $dry && ! command -v flyctl >/dev/null; then
  echo "rollback: flyctl is not on the PATH; it would run: flyctl deploy --image $image" >&2
  exit 69
fi
echo "back to $image"
command=("$here/deploy.sh" --fly "${fly_toml:-fly.toml}" --image "$image")
if $dry; then command+=(--dry-run); fi
command+=(deploy wait verify compare)
if ((${#fly_flags[@]} > 0)); then command+=(-- "${fly_flags[@]}"); fi
if $dry; then exec "${command[@]}"; fi
# One that fails is tried again to the same image, and not to the one that it leaves.
mkdir -p "$state"
printf '%s\n' "$image" >"$state/image"
DEPLOY_IMAGE_NOTE=image.left "${command[@]}"
mv "$state/image.left" "$state/image"
