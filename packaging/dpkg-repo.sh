#!/bin/sh
# Upload hook: puts a Debian package that was built into a repository of aptly, one repository for
# each platform.
#
# To set it up, as root: the programs, a home for the user builder, who has none, and a key without a
# passphrase, which is builder's own:
#
#     apt install aptly gnupg
#     install -d -m 755 -o builder -g builder /home/builder
#     runuser -u builder -- env HOME=/home/builder gpg --batch --pinentry-mode loopback --passphrase '' --quick-generate-key 'builds of example.org' rsa4096 sign never
#     runuser -u builder -- env HOME=/home/builder gpg --batch --export >/usr/share/keyrings/example.org.gpg
#     ln -s /usr/share/builder-web/dpkg-repo.sh /etc/builder-web/upload-hooks/dpkg-repo.sh
#     systemctl restart builder-web
#
# (The last since the service can write to /home/builder only if that was there when it started.) A web
# server then serves /home/builder/.aptly/public; whoever installs from it has the file
# /usr/share/keyrings/example.org.gpg, and a line in /etc/apt/sources.list:
#
#     deb [signed-by=/usr/share/keyrings/example.org.gpg] https://HOST/ PLATFORM main
#
# "runuser -u builder -- builder-db run-hooks UUID" shows whether it works. Settings are read from
# /etc/builder-web/dpkg-repo.conf, a file of shell assignments:
#   HOME=/home/builder         where aptly keeps its repositories
#   REPO_KEYID=                the key that signs; empty: the default one of gpg
#   PACKAGES=/etc/builder-web/packages
#                              which packages a job may publish besides the one of its own name: a
#                              line PACKAGE JOB for each
#
# Whoever may upload to a job chooses what is in its package, its name too, and the repository is
# signed. So a job publishes the package of its name and those of the file PACKAGES, which may be
# provided by one another; and none that apt would install without being asked (Essential).
#
# A package is published as VERSION-BUILDTIME-SHA256, where a plain VERSION becomes
# VERSION-0-g0000000: so apt sees a newer build of the same version as newer, and the digest of
# what was built can be read off what is installed. Needs aptly, gpg, dpkg-deb and flock.
set -eu
# Of the service, files are for its user and group: what is published is for the web server too.
umask 022

HOME=/home/builder
REPO_KEYID=
PACKAGES=/etc/builder-web/packages
settings=${BUILDER_WEB_DPKG_REPO_CONF:-/etc/builder-web/dpkg-repo.conf}
# shellcheck source=/dev/null
if [ -r "$settings" ]; then . "$settings"; fi
export HOME

stop() {
  echo "dpkg-repo: $1" >&2
  exit 1
}

build_time='' sha256='' job='' platform='' path='' file=''
for argument; do
  case $argument in
    --build-time=*) build_time=${argument#*=} ;;
    --sha256=*) sha256=${argument#*=} ;;
    --job=*) job=${argument#*=} ;;
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
for needed in "$build_time" "$sha256" "$job" "$platform" "$file"; do
  [ -n "$needed" ] || stop '--build-time, --sha256, --job, --platform and a file are needed'
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
is "$build_time" '[0-9]{14}' || stop '--build-time is not such as 20260512041233'
# A platform becomes the name of a repository, a directory and an argument.
is "$platform" '[A-Za-z0-9][A-Za-z0-9._+~-]*' ||
  stop "the platform $platform cannot be the name of a repository"
# Whether the job may publish a package of this name.
may_publish() {
  [ "$1" = "$job" ] || { [ -r "$PACKAGES" ] && grep -qxF -e "$1 $job" "$PACKAGES"; }
}

[ -w "$HOME" ] ||
  stop "$HOME is not there, or cannot be written to: the first lines of this hook say how to set it up"
# Several hooks run at a time, and what follows is many steps: one after the other.
exec 9>"$HOME/.dpkg-repo.lock"
flock 9

if aptly repo show -with-packages "$platform" 2>/dev/null | grep -qF -e "-$sha256"; then
  echo "dpkg-repo: the repository $platform has it already"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=$(dpkg-deb --field "$file" Package)
is "$name" '[a-z0-9][a-z0-9+.-]+' || stop "$path has no name of a package"
may_publish "$name" ||
  stop "the job $job may not publish the package $name: if it is to, add the line \"$name $job\" to $PACKAGES"
for field in Essential Important Protected; do
  [ "$(dpkg-deb --field "$file" "$field" | tr '[:upper:]' '[:lower:]')" != yes ] ||
    stop "the package $name says $field: apt would install it without being asked"
done
# NAME (= VERSION), NAME, …
dpkg-deb --field "$file" Provides | tr ',' '\n' | sed 's/(.*//; s/[[:space:]]//g; /^$/d' >"$work/provides"
while read -r provided; do
  may_publish "$provided" ||
    stop "the package $name provides $provided, which the job $job may not publish: if it is to, add the line \"$provided $job\" to $PACKAGES"
done <"$work/provides"
version=$(dpkg-deb --field "$file" Version)
if ! is "$version" '([0-9]+:)?[0-9]+\.[0-9]+\.[0-9]+(-[0-9]+-g[0-9a-fA-F]+|\+git[0-9]+\.[0-9a-f]+)?'; then
  stop "the version $version of $name is not MAJOR.MINOR.PATCH, MAJOR.MINOR.PATCH-COMMITS-gHASH or MAJOR.MINOR.PATCH+gitCOMMITS.HASH, so that builds of it could not be told apart by age"
fi
case $version in
  *-* | *+*) ;;
  *) version=$version-0-g0000000 ;;
esac

# Control files are unpacked on their own: a link among the others would lead them elsewhere.
dpkg-deb --extract "$file" "$work/tree"
if [ -e "$work/tree/DEBIAN" ] || [ -L "$work/tree/DEBIAN" ]; then
  stop "$path holds a file DEBIAN"
fi
dpkg-deb --control "$file" "$work/tree/DEBIAN"
if [ -n "$(find "$work/tree/DEBIAN" -mindepth 1 ! -type f)" ]; then
  stop "a control file of $path is no regular file"
fi
version=$version-$build_time-$sha256
sed "s/^[Vv][Ee][Rr][Ss][Ii][Oo][Nn]:.*/Version: $version/" "$work/tree/DEBIAN/control" >"$work/control"
mv "$work/control" "$work/tree/DEBIAN/control"
mkdir "$work/made"
# Whoever publishes the same build publishes the same bytes.
SOURCE_DATE_EPOCH=$(date -u +%s -d "$(printf '%s\n' "$build_time" |
  sed 's/\(....\)\(..\)\(..\)\(..\)\(..\)\(..\)/\1-\2-\3 \4:\5:\6/')")
export SOURCE_DATE_EPOCH
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
