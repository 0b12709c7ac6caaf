#!/bin/sh
# Tries the README in a fresh clone, with an empty environment and an empty home:
#
#   make up · make demo · a second make up and demo · kill -9 of everything · make up and demo · make test
#
# Run it by hand, as root and as an ordinary user, before a release: it takes a quarter of an hour and needs a
# package index. Usage: tests/e2e/fresh_clone.sh [SOURCE [FOLDER]]; SOURCE is the repository to clone.
set -eu

source=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
folder=${2:-$(mktemp -d)}
clone=$folder/headgate
home=$folder/home
path=/usr/local/bin:/usr/bin:/bin
up_seconds=600

say() { printf '\n== %s\n' "$*"; }

# Nothing of the caller's environment reaches a command.
clean() { (cd "$clone" && env -i HOME="$home" PATH="$path" "$@"); }

# Processes that run in the clone, whoever started them.
processes() {
    for each in /proc/[0-9]*; do
        case $(readlink "$each/cwd" 2>/dev/null || true) in
            "$clone" | "$clone"/*) echo "${each#/proc/}" ;;
        esac
    done
}

start() {
    say "make up"
    clean make up >"$folder/up.log" 2>&1 &
    supervisor=$!
    waited=0
    until grep -q "Headgate is up" "$folder/up.log"; do
        kill -0 "$supervisor" 2>/dev/null || { cat "$folder/up.log"; exit 1; }
        [ "$waited" -lt "$up_seconds" ] || { cat "$folder/up.log"; echo "not up in time"; exit 1; }
        sleep 1
        waited=$((waited + 1))
    done
}

finish() {
    status=$?
    [ -d "$clone" ] && for each in $(processes); do kill -9 "$each" 2>/dev/null || true; done
    if [ "$status" -eq 0 ]; then say "all of it worked"; else say "failed; see $folder"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

mkdir -p "$home"
HOME=$home git config --global safe.directory '*'
HOME=$home git clone -q "$source" "$clone"

start
say "make demo"
clean make demo
say "make demo, a second time"
clean make demo
say "make down, and up again"
clean make down
wait "$supervisor"
start
clean make demo
say "kill -9 of everything, and up again"
for each in $(processes); do kill -9 "$each" 2>/dev/null || true; done
wait "$supervisor" || true
start
clean make demo
say "make test, beside it"
clean make test
