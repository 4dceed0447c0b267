#!/bin/sh
# Prints an interpreter of the Python version that is named (such as 3.13): one on PATH, one of pyenv's (whose commands
# on PATH work only for versions that were chosen), one that uv has, or one that uv can install.
version=$1

is_it() {
	"$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null
}

for python in "python$version" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3; do
	if is_it "$python"; then
		echo "$python"
		exit
	fi
done
if command -v uv >/dev/null; then
	uv python find -q --managed-python --no-python-downloads "$version" 2>/dev/null && exit
	uv python install -q "$version" 2>/dev/null && uv python find -q --managed-python "$version" && exit
fi
echo "There is no Python $version here to byte-compile the layers: put python$version on PATH," \
	"or build for the version that you have, such as BRIDGE_PYTHON=3.12 make build." >&2
exit 1
