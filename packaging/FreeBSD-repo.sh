#!/bin/sh
# Upload hook: puts a FreeBSD package that was built into a repository of pkg, one repository for
# each ABI.
#
# To set it up, as root: the program that it needs, a directory that the user builder may write to, and
# a key that builder may read:
#
#     pkg install jq
#     install -d -m 755 -o builder -g builder /usr/local/www/pkg
#     openssl genrsa -out /usr/local/etc/builder-web/repo.key 4096
#     chown builder /usr/local/etc/builder-web/repo.key
#     chmod 400 /usr/local/etc/builder-web/repo.key
#     openssl rsa -in /usr/local/etc/builder-web/repo.key -pubout -out /usr/local/www/pkg/repo.pub
#     cp /usr/local/share/builder-web/FreeBSD-repo.sh.sample /usr/local/etc/builder-web/upload-hooks/FreeBSD-repo.sh
#
# A web server then serves /usr/local/www/pkg. "su -m builder -c 'builder-db run-hooks UUID'" shows
# whether it works. Settings are read from the environment, builder_web_env in rc.conf:
#   REPO      the directory of the repositories; default /usr/local/www/pkg
#   REPO_KEY  the RSA key that signs; default /usr/local/etc/builder-web/repo.key
#   PACKAGES  which packages a job may publish besides the one of its own name: a file with a line
#             PACKAGE JOB for each; default /usr/local/etc/builder-web/packages
#
# Whoever may upload to a job chooses all that is in its package, its name too, and the repository
# is signed. So a job publishes the package of its name and those of the file PACKAGES; what the
# manifest says becomes part of no path before it was looked at; and no file comes into a package
# that was not in the one that was built.
#
# A package is published as VERSION.BUILDTIME.SHA256, where a plain VERSION becomes
# VERSION.0.g0000000: so pkg sees a newer build of the same version as newer, and the digest of
# what was built can be read off what is installed. Needs pkg, tar and jq.
set -eu
# What is published is for the web server too, whatever files of the service are.
umask 022

: "${REPO:=/usr/local/www/pkg}"
: "${REPO_KEY:=/usr/local/etc/builder-web/repo.key}"
: "${PACKAGES:=/usr/local/etc/builder-web/packages}"

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
# Several hooks run at a time, and what follows is many steps: one after the other.
if [ -z "${FREEBSD_REPO_LOCKED:-}" ]; then
  mkdir -p "$REPO"
  FREEBSD_REPO_LOCKED=1 exec lockf -k "$REPO/.lock" "$0" "$@"
fi
for needed in "$build_time" "$sha256" "$job" "$file"; do
  [ -n "$needed" ] || stop '--build-time, --sha256, --job and a file are needed'
done

# Whether a text, of one line, is as an extended regular expression says. Of bytes, so that no
# locale widens a range.
is() {
  case $1 in
    *"
"*) return 1 ;;
  esac
  printf '%s\n' "$1" | LC_ALL=C grep -Exq -e "$2"
}
# Whether the job may publish a package of this name.
may_publish() {
  [ "$1" = "$job" ] || { [ -r "$PACKAGES" ] && grep -qxF -e "$1 $job" "$PACKAGES"; }
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/unpacked" "$work/tree" "$work/made"
tar -x -f "$file" -C "$work/unpacked"
manifest=$work/unpacked/+MANIFEST
{ [ -f "$manifest" ] && [ ! -L "$manifest" ]; } ||
  stop "$path holds no +MANIFEST: it is no FreeBSD package"
{ [ -d "$work/unpacked/usr" ] && [ ! -L "$work/unpacked/usr" ]; } ||
  stop "$path holds no directory usr"
mv "$work/unpacked/usr" "$work/tree/usr"

name=$(jq -r .name "$manifest")
abi=$(jq -r .abi "$manifest")
version=$(jq -r .version "$manifest")
is "$name" '[A-Za-z0-9][A-Za-z0-9_.+-]*' || stop "$path has no name of a package"
is "$abi" '[A-Za-z]+:[0-9]+(:[a-z0-9_]+)+' ||
  stop "the ABI of $name is not such as FreeBSD:14:amd64"
may_publish "$name" ||
  stop "the job $job may not publish the package $name: if it is to, add the line \"$name $job\" to $PACKAGES"
epoch=
case $version in
  *,*)
    epoch=,${version##*,}
    version=${version%,*}
    ;;
esac
if ! is "$version$epoch" '[0-9]+\.[0-9]+\.[0-9]+(\.[0-9]+\.g[0-9a-fA-F]+)?(,[0-9]+)?'; then
  stop "the version $version of $name is not MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH.COMMITS.gHASH, so that builds of it could not be told apart by age"
fi
case $version in
  *.g*) ;;
  *) version=$version.0.g0000000 ;;
esac
version=$version.$build_time.$sha256$epoch
# The builds of a package, and none of one whose name begins with its name and a hyphen.
published() {
  for known in "$REPO/$abi/All/$name"-[0-9]*.pkg; do
    case ${known#"$REPO/$abi/All/$name"-} in
      *-*) ;;
      *) if [ -e "$known" ]; then printf '%s\n' "$known"; fi ;;
    esac
  done
}
if published | grep -qF -e ".$sha256$epoch.pkg"; then
  echo "FreeBSD-repo: $name of $sha256 is there already"
  exit 0
fi

# pkg reads what the manifest names: a name that leads out of the package, by way of a link in it,
# would publish a file of this machine, such as the key.
tree=$(cd "$work/tree" && pwd -P)
jq -r '[(.files, .directories, .config) // empty | if type == "object" then keys[] else .[] end] | map(@json)[]' \
  "$manifest" >"$work/names"
while read -r quoted; do
  file_name=$(printf '%s' "$quoted" | jq -r .)
  is "$file_name" '/usr/.*' || stop "the package $name names a file outside of /usr"
  directory=$(cd "$tree/$(dirname "$file_name")" 2>/dev/null && pwd -P) ||
    stop "the package $name names $file_name, which it does not hold"
  case $directory/ in
    "$tree"/usr/*) ;;
    *) stop "the package $name names $file_name, which leads out of it" ;;
  esac
done <"$work/names"
jq -c --arg version "$version" '.version = $version' "$manifest" >"$work/+MANIFEST"

# Made beside and moved, so that nobody gets half a package.
pkg create -r "$work/tree" -m "$work" -o "$work/made"
mkdir -p "$REPO/$abi/All"
# One version is offered: the newest.
published | while read -r known; do rm -f "$known"; done
mv "$work/made/$name-$version.pkg" "$REPO/$abi/All/"
pkg repo "$REPO/$abi" "$REPO_KEY"
