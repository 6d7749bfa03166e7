#!/bin/sh
# Upload hook: puts a FreeBSD package that was built into a repository of pkg, one repository for
# each ABI.
#
# Link it into upload-hooks/ of the configuration directory, under a name that ends in .sh.
# Settings are read from the environment:
#   REPO      the directory of the repositories; default /usr/local/www/pkg
#   REPO_KEY  the RSA key that signs; default /usr/local/etc/builder-web/repo.key
#
# A package is published as VERSION.BUILDTIME.SHA256, where a plain VERSION becomes
# VERSION.0.g0000000: so pkg sees a newer build of the same version as newer, and the digest of
# what was built can be read off what is installed. Needs pkg, tar and jq.
set -eu

: "${REPO:=/usr/local/www/pkg}"
: "${REPO_KEY:=/usr/local/etc/builder-web/repo.key}"

stop() {
  echo "FreeBSD-repo: $1" >&2
  exit 1
}

build_time='' sha256='' job='' path='' file=''
for argument; do
  case $argument in
    --build-time=*) build_time=${argument#*=} ;;
    --sha256=*) sha256=${argument#*=} ;;
    --job=*) job=${argument#*=} ;;
    --main-binary-filepath=*) path=${argument#*=} ;;
    --*) ;; # what this hook has no use for
    *) file=$argument ;;
  esac
done
case $path in
  *.pkg) ;;
  '') stop 'there is no --main-binary-filepath: this is to be run as an upload hook' ;;
  *) exit 0 ;;
esac
[ -n "$build_time" ] && [ -n "$sha256" ] && [ -n "$job" ] && [ -n "$file" ] ||
  stop '--build-time, --sha256, --job and a file are needed'

for known in "$REPO"/*/All/"$job"-*."$sha256".pkg; do
  if [ -e "$known" ]; then
    echo "FreeBSD-repo: $known is there already"
    exit 0
  fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/unpacked" "$work/tree" "$work/made"
tar -x -f "$file" -C "$work/unpacked"
[ -e "$work/unpacked/+MANIFEST" ] || stop "$path holds no +MANIFEST: it is no FreeBSD package"
mv "$work/unpacked/usr" "$work/tree/usr"

name=$(jq -r .name "$work/unpacked/+MANIFEST")
abi=$(jq -r .abi "$work/unpacked/+MANIFEST")
version=$(jq -r .version "$work/unpacked/+MANIFEST")
if ! printf '%s\n' "$version" | grep -Eq '^[0-9]+\.[0-9]+\.[0-9]+(\.[0-9]+\.g[0-9a-fA-F]+)?$'; then
  stop "the version $version of $name is not MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH.COMMITS.gHASH, so that builds of it could not be told apart by age"
fi
case $version in
  *.g*) ;;
  *) version=$version.0.g0000000 ;;
esac
version=$version.$build_time.$sha256
jq -c --arg version "$version" '.version = $version' "$work/unpacked/+MANIFEST" >"$work/+MANIFEST"

# Made beside and moved, so that nobody gets half a package.
pkg create -r "$work/tree" -m "$work" -o "$work/made"
mkdir -p "$REPO/$abi/All"
rm -f "$REPO/$abi/All/$name"-*.pkg
mv "$work/made/$name-$version.pkg" "$REPO/$abi/All/"
pkg repo "$REPO/$abi" "$REPO_KEY"
