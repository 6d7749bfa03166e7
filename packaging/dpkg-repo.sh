#!/bin/sh
# Upload hook: puts a Debian package that was built into a repository of aptly, one repository for
# each platform.
#
# Link it into /etc/builder-web/upload-hooks/, under a name that ends in .sh. Settings are read
# from /etc/builder-web/dpkg-repo.conf, a file of shell assignments:
#   HOME=/home/builder         where aptly keeps its repositories
#   REPO_KEYID=                the key that signs; empty: the default one of gpg
#
# A package is published as VERSION-BUILDTIME-SHA256, where a plain VERSION becomes
# VERSION-0-g0000000: so apt sees a newer build of the same version as newer, and the digest of
# what was built can be read off what is installed. Needs aptly, gpg and dpkg-deb.
set -eu

HOME=/home/builder
REPO_KEYID=
settings=${BUILDER_WEB_DPKG_REPO_CONF:-/etc/builder-web/dpkg-repo.conf}
# shellcheck source=/dev/null
if [ -r "$settings" ]; then . "$settings"; fi
export HOME

stop() {
  echo "dpkg-repo: $1" >&2
  exit 1
}

build_time='' sha256='' platform='' path='' file=''
for argument; do
  case $argument in
    --build-time=*) build_time=${argument#*=} ;;
    --sha256=*) sha256=${argument#*=} ;;
    --platform=*) platform=${argument#*=} ;;
    --main-binary-filepath=*) path=${argument#*=} ;;
    --*) ;; # what this hook has no use for
    *) file=$argument ;;
  esac
done
case $path in
  *.deb) ;;
  '') stop 'there is no --main-binary-filepath: this is to be run as an upload hook' ;;
  *) exit 0 ;;
esac
[ -n "$build_time" ] && [ -n "$sha256" ] && [ -n "$platform" ] && [ -n "$file" ] ||
  stop '--build-time, --sha256, --platform and a file are needed'

if aptly repo show -with-packages "$platform" 2>/dev/null | grep -qF -e "-$sha256"; then
  echo "dpkg-repo: the repository $platform has it already"
  exit 0
fi

name=$(dpkg-deb --field "$file" Package)
version=$(dpkg-deb --field "$file" Version)
if ! printf '%s\n' "$version" | grep -Eq '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9]+-g[0-9a-fA-F]+)?$'; then
  stop "the version $version of $name is not MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH-COMMITS-gHASH, so that builds of it could not be told apart by age"
fi
case $version in
  *-*) ;;
  *) version=$version-0-g0000000 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dpkg-deb --raw-extract "$file" "$work/tree"
sed "s/^Version:.*/Version: $version-$build_time-$sha256/" "$work/tree/DEBIAN/control" >"$work/control"
cat "$work/control" >"$work/tree/DEBIAN/control"
mkdir "$work/made"
dpkg-deb --root-owner-group --build "$work/tree" "$work/made"

if ! aptly repo show "$platform" >/dev/null 2>&1; then
  aptly repo create -distribution="$platform" "$platform"
fi
# One version is offered: the newest.
aptly repo remove "$platform" "$name"
aptly repo add "$platform" "$work/made"
if aptly publish show "$platform" >/dev/null 2>&1; then
  aptly publish update ${REPO_KEYID:+-gpg-key="$REPO_KEYID"} "$platform"
else
  aptly publish repo ${REPO_KEYID:+-gpg-key="$REPO_KEYID"} "$platform"
fi
