#!/usr/bin/env bash
# Goes back to the image that served before the last scripts/deploy.sh, or to the one that is named, by the same blue-green
# deploy. The schema stays: it serves older releases within its window, and the older release's own `migrate`, which is
# fly.toml's release command, refuses where it does not.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${DEPLOY_STATE:-.tidemark/deploy}
flags=()
image=
for word in "$@"; do
  case $word in
    --help)
      echo "scripts/rollback.sh [--dry-run] [IMAGE]    exit codes: as scripts/deploy.sh; 64: no image, 69: no flyctl"
      exit 0
      ;;
    --dry-run) flags+=(--dry-run) ;;
    -*)
      echo "rollback: $word is no flag (scripts/rollback.sh --help)" >&2
      exit 64
      ;;
    *) image=$word ;;
  esac
done
if [[ -z $image && -s $state/image ]]; then image=$(<"$state/image"); fi
if [[ -z $image ]]; then
  echo "rollback: which image? flyctl releases --image lists them, then: scripts/rollback.sh IMAGE" >&2
  exit 64
fi
if ((${#flags[@]} == 0)) && ! command -v flyctl >/dev/null; then
  echo "rollback: flyctl is not on the PATH; it would run: flyctl deploy --image $image" >&2
  exit 69
fi
echo "back to $image"
exec "$here/deploy.sh" ${flags[@]+"${flags[@]}"} --image "$image" deploy wait verify compare
