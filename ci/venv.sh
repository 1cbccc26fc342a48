# Sourced by ci/test, ci/demo, ci/lowest and ci/fuzz: `use_venv NAME PACKAGE...` puts a virtual environment with these packages
# first on the PATH. It is made once (XAPPA_VENV, default .venv) and brought up to date when what it is made of changes.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${XAPPA_VENV:-$root/.venv}

find_python() {
    local candidate
    for candidate in ${XAPPA_PYTHON:+"$XAPPA_PYTHON"} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "xappa needs Python 3.11 or newer; found $(python3 --version 2>&1 || true). Set XAPPA_PYTHON to one." >&2
    return 1
}

use_venv() {
    local name=$1 python key stamp
    shift
    cd "$root"
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        echo "Making $venv with $("$python" --version)"
        "$python" -m venv --clear "$venv"
    fi
    key=$(cat pyproject.toml ci/constraints.txt ci/venv.sh; echo "$root" "$@")
    key=$(printf '%s' "$key" | "$venv/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    stamp=$venv/.xappa-$name
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$key" ]; then
        echo "Installing into $venv (once)"
        # One package first, alone: a resolver that meets a plain "torch" may fetch another build.
        "$venv/bin/python" -m pip install -q --no-input "$(grep '^torch==' ci/constraints.txt)"
        "$venv/bin/python" -m pip install -q --no-input -c ci/constraints.txt "$@"
        printf '%s\n' "$key" >"$stamp"
    fi
    export PATH="$venv/bin:$PATH"
}
