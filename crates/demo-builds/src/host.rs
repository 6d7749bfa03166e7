//! The machines that build: their environment and what is installed on them, by platform and day.

/// Where a build ran.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Platform {
    Debian12,
    Debian13,
    FreeBsd14,
}

impl Platform {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Platform::Debian12 => "debian-12",
            Platform::Debian13 => "debian-13",
            Platform::FreeBsd14 => "freebsd-14.2",
        }
    }

    pub(crate) fn is_debian(self) -> bool {
        self != Platform::FreeBsd14
    }

    /// `build-environment` as orb writes it: its own variables, then what opam knows of the system.
    pub(crate) fn environment(self, package: &str, epoch: i64, day: u8) -> String {
        let solver_timeout = if day < 47 { "500" } else { "600" };
        let (home, path) = match self.is_debian() {
            true => (
                "/home/builder",
                "/bin:/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin",
            ),
            false => (
                "/root",
                "/bin:/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin",
            ),
        };
        let (family, version, distribution, os) = match self {
            Platform::Debian12 => ("debian", "12", "debian", "linux"),
            Platform::Debian13 => ("debian", "13", "debian", "linux"),
            Platform::FreeBsd14 => ("bsd", "1402000", "freebsd", "freebsd"),
        };
        [
            format!("HOME={home}"),
            format!("PATH={path}"),
            format!("SOURCE_DATE_EPOCH={epoch}"),
            format!("OPAMSOLVERTIMEOUT={solver_timeout}"),
            "OPAMERRLOGLEN=0".to_owned(),
            format!("ORB_BUILDING_PACKAGE={package}"),
            "OPAMROOT=/tmp".to_owned(),
            "PREFIX=/tmp/myswitch".to_owned(),
            "SWITCH_PATH=myswitch".to_owned(),
            "ORB_DATA=2".to_owned(),
            "ARCH=x86_64".to_owned(),
            format!("OS_FAMILY={family}"),
            format!("OS_VERSION={version}"),
            format!("OS_DISTRIBUTION={distribution}"),
            format!("OS={os}"),
        ]
        .join("\n")
    }

    /// `system-packages` as `dpkg-query` or `pkg query` prints it.
    pub(crate) fn packages(self, day: u8) -> String {
        let (packages, updates, between) = match self {
            Platform::Debian12 => (DEBIAN_12, UPDATES_DEBIAN_12, "="),
            Platform::Debian13 => (DEBIAN_13, UPDATES_DEBIAN_13, "="),
            Platform::FreeBsd14 => (FREEBSD_14, UPDATES_FREEBSD_14, "-"),
        };
        let mut installed: Vec<(&str, &str)> = packages
            .split_whitespace()
            .filter_map(|pair| pair.split_once('/'))
            .collect();
        for (_, pair) in updates.iter().filter(|(since, _)| *since <= day) {
            let Some((name, version)) = pair.split_once('/') else {
                continue;
            };
            installed.retain(|(known, _)| *known != name);
            // A package without a version was removed.
            if !version.is_empty() {
                installed.push((name, version));
            }
        }
        installed.sort_unstable();
        installed
            .iter()
            .map(|(name, version)| format!("{name}{between}{version}\n"))
            .collect()
    }
}

const DEBIAN_12: &str = "
    adduser/3.134 apt/2.6.1 autoconf/2.71-3 automake/1:1.16.5-1.3 autotools-dev/20220109.1 base-files/12.4+deb12u7
    base-passwd/3.6.1 bash/5.2.15-2+b7 binutils/2.40-2 binutils-common/2.40-2 binutils-x86-64-linux-gnu/2.40-2
    bsdutils/1:2.38.1-5+deb12u1 bubblewrap/0.8.0-2 build-essential/12.9 bzip2/1.0.8-5+b1 ca-certificates/20230311
    coreutils/9.1-1 cpp/4:12.2.0-3 cpp-12/12.2.0-14 curl/7.88.1-10+deb12u6 dash/0.5.12-2 debconf/1.5.82
    debhelper/13.11.4 debian-archive-keyring/2023.3+deb12u1 debianutils/5.7-0.5~deb12u1 diffutils/1:3.8-4 dpkg/1.21.22
    dpkg-dev/1.21.22 e2fsprogs/1.47.0-2 fakeroot/1.31-1.2 file/1:5.44-3 findutils/4.9.0-4 g++/4:12.2.0-3
    g++-12/12.2.0-14 gcc/4:12.2.0-3 gcc-12/12.2.0-14 gcc-12-base/12.2.0-14 git/1:2.39.2-1.1
    git-man/1:2.39.2-1.1 gnupg/2.2.40-1.1 gpgv/2.2.40-1.1 grep/3.8-5 gzip/1.12-1 hostname/3.23+nmu1
    init-system-helpers/1.65.2 libacl1/2.3.1-3 libapt-pkg6.0/2.6.1 libasan8/12.2.0-14 libatomic1/12.2.0-14
    libattr1/1:2.5.1-4 libaudit1/1:3.0.9-1 libbinutils/2.40-2 libblkid1/2.38.1-5+deb12u1
    libbrotli1/1.0.9-2+b6 libbz2-1.0/1.0.8-5+b1 libc-bin/2.36-9+deb12u7 libc-dev-bin/2.36-9+deb12u7
    libc6/2.36-9+deb12u7 libc6-dev/2.36-9+deb12u7 libcap2/1:2.66-4 libcc1-0/12.2.0-14 libcom-err2/1.47.0-2
    libcrypt-dev/1:4.4.33-2 libcrypt1/1:4.4.33-2 libctf0/2.40-2 libcurl3-gnutls/7.88.1-10+deb12u6
    libcurl4/7.88.1-10+deb12u6 libdb5.3/5.3.28+dfsg2-1 libdpkg-perl/1.21.22 libelf1/0.188-2.1
    libev-dev/1:4.33-1 libev4/1:4.33-1 libexpat1/2.5.0-1 libffi8/3.4.4-1 libgcc-12-dev/12.2.0-14
    libgcc-s1/12.2.0-14 libgdbm6/1.23-3 libgmp-dev/2:6.2.1+dfsg1-1.1 libgmp10/2:6.2.1+dfsg1-1.1
    libgmpxx4ldbl/2:6.2.1+dfsg1-1.1 libgnutls30/3.7.9-2+deb12u3 libgomp1/12.2.0-14
    libgssapi-krb5-2/1.20.1-2+deb12u1 libisl23/0.25-1.1 libitm1/12.2.0-14 libjansson4/2.14-2
    libk5crypto3/1.20.1-2+deb12u1 libkeyutils1/1.6.3-2 libkrb5-3/1.20.1-2+deb12u1
    libldap-2.5-0/2.5.13+dfsg-5 liblz4-1/1.9.4-1 liblzma5/5.4.1-0.2 libmagic1/1:5.44-3 libmount1/2.38.1-5+deb12u1
    libmpc3/1.3.1-1 libmpfr6/4.2.0-1 libncursesw6/6.4-4 libnettle8/3.8.1-2 libnghttp2-14/1.52.0-1+deb12u1
    libnsl-dev/1.3.0-2 libnsl2/1.3.0-2 libp11-kit0/0.24.1-2 libpam-modules/1.5.2-6+deb12u1
    libpam0g/1.5.2-6+deb12u1 libpcre2-8-0/10.42-1 libperl5.36/5.36.0-7+deb12u1 libpsl5/0.21.2-1
    libquadmath0/12.2.0-14 libreadline8/8.2-1.3 librtmp1/2.4+20151223.gitfa8646d.1-2+b2 libsasl2-2/2.1.28+dfsg-10
    libseccomp-dev/2.5.4-1+b3 libseccomp2/2.5.4-1+b3 libselinux1/3.4-1+b6 libsemanage2/3.4-1+b5
    libsmartcols1/2.38.1-5+deb12u1 libsqlite3-0/3.40.1-2 libssh2-1/1.10.0-3+b1 libssl3/3.0.13-1~deb12u1
    libstdc++-12-dev/12.2.0-14 libstdc++6/12.2.0-14 libsystemd0/252.26-1~deb12u2 libtasn1-6/4.19.0-2
    libtinfo6/6.4-4 libtirpc-dev/1.3.3+ds-1 libtirpc3/1.3.3+ds-1 libtool/2.4.7-5 libubsan1/12.2.0-14
    libudev1/252.26-1~deb12u2 libunistring2/1.0-2 libuuid1/2.38.1-5+deb12u1 libxxhash0/0.8.1-1
    libzstd1/1.5.4+dfsg2-5 linux-libc-dev/6.1.90-1 login/1:4.13+dfsg1-1+b1 logsave/1.47.0-2 m4/1.4.19-3 make/4.3-4.1
    mawk/1.3.4.20200120-3.1 mount/2.38.1-5+deb12u1 ncurses-base/6.4-4 ncurses-bin/6.4-4 opam/2.1.2-1
    openssl/3.0.13-1~deb12u1 passwd/1:4.13+dfsg1-1+b1 patch/2.7.6-7 perl/5.36.0-7+deb12u1
    perl-base/5.36.0-7+deb12u1 pkg-config/1.8.1-1 pkgconf/1.8.1-1 procps/2:4.0.2-3 readline-common/8.2-1.3
    rpcsvc-proto/1.4.3-1 rsync/3.2.7-1 sed/4.9-1 sudo/1.9.13p3-1+deb12u1 sysvinit-utils/3.06-4 tar/1.34+dfsg-1.2
    tzdata/2024a-0+deb12u1 unzip/6.0-28 util-linux/2.38.1-5+deb12u1 xz-utils/5.4.1-0.2 zip/3.0-13
    zlib1g/1:1.2.13.dfsg-1 zlib1g-dev/1:1.2.13.dfsg-1";

const UPDATES_DEBIAN_12: &[(u8, &str)] = &[
    (5, "libssl3/3.0.14-1~deb12u1"),
    (5, "openssl/3.0.14-1~deb12u1"),
    (5, "linux-libc-dev/6.1.94-1"),
    (19, "curl/7.88.1-10+deb12u7"),
    (19, "libcurl4/7.88.1-10+deb12u7"),
    (19, "libcurl3-gnutls/7.88.1-10+deb12u7"),
    (19, "tzdata/2024b-0+deb12u1"),
    (33, "libc6/2.36-9+deb12u8"),
    (33, "libc6-dev/2.36-9+deb12u8"),
    (33, "libc-bin/2.36-9+deb12u8"),
    (33, "libc-dev-bin/2.36-9+deb12u8"),
    (33, "linux-libc-dev/6.1.106-3"),
    (47, "libexpat1/2.5.0-1+deb12u1"),
    (47, "git/1:2.39.5-0+deb12u1"),
    (47, "git-man/1:2.39.5-0+deb12u1"),
    (47, "unzip/"),
    (61, "libssl3/3.0.15-1~deb12u1"),
    (61, "openssl/3.0.15-1~deb12u1"),
    (61, "libnghttp2-14/1.52.0-1+deb12u2"),
    (61, "jq/1.6-2.1"),
    (61, "libjq1/1.6-2.1"),
    (61, "libonig5/6.9.8-1"),
    (75, "linux-libc-dev/6.1.112-1"),
    (75, "libsqlite3-0/3.40.1-2+deb12u1"),
    (75, "ca-certificates/20230311+deb12u1"),
];

const DEBIAN_13: &str = "
    adduser/3.152 apt/3.0.3 base-files/13.8 base-passwd/3.6.7 bash/5.2.37-2+b5 binutils/2.44-3
    binutils-common/2.44-3 binutils-x86-64-linux-gnu/2.44-3 bsdutils/1:2.41-5 bubblewrap/0.11.0-2
    build-essential/12.12 bzip2/1.0.8-6 ca-certificates/20250419 coreutils/9.7-3 cpp-14/14.2.0-19 curl/8.14.1-2
    dash/0.5.12-12 dpkg/1.22.21 dpkg-dev/1.22.21 fakeroot/1.37.1.1-1 file/1:5.46-5 findutils/4.10.0-3
    g++-14/14.2.0-19 gcc/4:14.2.0-1 gcc-14/14.2.0-19 gcc-14-base/14.2.0-19 git/1:2.47.3-0+deb13u1 grep/3.11-4
    gzip/1.13-1 hostname/3.25 libacl1/2.3.2-2+b1 libattr1/1:2.5.2-3 libbinutils/2.44-3 libbz2-1.0/1.0.8-6
    libc-bin/2.41-12 libc-dev-bin/2.41-12 libc6/2.41-12 libc6-dev/2.41-12 libcap2/1:2.75-10+b1
    libcurl4t64/8.14.1-2 libdb5.3t64/5.3.28+dfsg2-9 libdpkg-perl/1.22.21 libelf1t64/0.192-4 libev-dev/1:4.33-2.1+b1
    libev4t64/1:4.33-2.1+b1 libgcc-14-dev/14.2.0-19 libgcc-s1/14.2.0-19 libgmp-dev/2:6.3.0+dfsg-3
    libgmp10/2:6.3.0+dfsg-3 libgomp1/14.2.0-19 libisl23/0.27-1 liblz4-1/1.10.0-4 liblzma5/5.8.1-1
    libmpc3/1.3.1-1+b3 libmpfr6/4.2.2-1 libnghttp2-14/1.64.0-1.1 libpcre2-8-0/10.45-1 libperl5.40/5.40.1-6
    libreadline8t64/8.2-6 libseccomp2/2.6.0-2 libselinux1/3.8.1-1 libsqlite3-0/3.46.1-7 libssl3t64/3.5.1-1
    libstdc++-14-dev/14.2.0-19 libstdc++6/14.2.0-19 libsystemd0/257.7-1 libtinfo6/6.5+20250216-2
    libudev1/257.7-1 libuuid1/2.41-5 libzstd1/1.5.7+dfsg-1 linux-libc-dev/6.12.41-1 m4/1.4.19-8 make/4.4.1-2
    mawk/1.3.4.20250131-1 opam/2.3.0-1 openssl/3.5.1-1 passwd/1:4.17.4-2 patch/2.8-2 perl/5.40.1-6
    perl-base/5.40.1-6 pkgconf/1.8.1-4 procps/2:4.0.4-9 rsync/3.4.1+ds1-5 sed/4.9-2 sudo/1.9.16p2-3
    tar/1.35+dfsg-3.1 tzdata/2025b-4 util-linux/2.41-5 xz-utils/5.8.1-1 zlib1g/1:1.3.dfsg+really1.3.1-1+b1
    zlib1g-dev/1:1.3.dfsg+really1.3.1-1+b1";

const UPDATES_DEBIAN_13: &[(u8, &str)] = &[
    (56, "debhelper/13.24.2"),
    (56, "libdebhelper-perl/13.24.2"),
    (75, "linux-libc-dev/6.12.48-1"),
    (75, "libssl3t64/3.5.1-1+deb13u1"),
    (75, "openssl/3.5.1-1+deb13u1"),
];

const FREEBSD_14: &str = "
    autoconf/2.72 automake/1.16.5 bash/5.2.32 bison/3.8.2_2,1 ca_root_nss/3.104 curl/8.10.1 cvsps/2.1_2 expat/2.6.3
    gettext-runtime/0.22.5 gettext-tools/0.22.5 git/2.46.1 glib/2.80.5,2 gmake/4.4.1 gmp/6.3.0 icu/74.2_1,1
    indexinfo/0.3.1 jq/1.7.1 libffi/3.4.6 libiconv/1.17_1 libidn2/2.3.7 liblz4/1.10.0,1 libnghttp2/1.63.0
    libpsl/0.21.5_1 libssh2/1.11.0_1,3 libtextstyle/0.22.5 libtool/2.4.7_1 libunistring/1.2 libxml2/2.11.9
    m4/1.4.19_1,1 mpdecimal/4.0.0 ncurses/6.5 ocaml-opam/2.2.1 oniguruma/6.9.9 p5-Authen-SASL/2.17
    p5-Digest-HMAC/1.04_1 p5-Error/0.17029 p5-IO-Socket-SSL/2.089 patch/2.7.6_1 pcre2/10.43 perl5/5.36.3_2
    pkg/1.21.3 pkgconf/2.2.0,1 popt/1.19_1 py311-packaging/24.1 py311-setuptools/63.1.0_1 python311/3.11.10
    readline/8.2.13 rsync/3.3.0_1 solo5-toolchain/0.9.0 sudo/1.9.15p5_4 unzip/6.0_8 xxhash/0.8.2_1 zstd/1.5.6";

const UPDATES_FREEBSD_14: &[(u8, &str)] = &[
    (19, "curl/8.11.0"),
    (19, "expat/2.6.4"),
    (28, "libev/4.33_1,1"),
    (47, "python311/3.11.11"),
    (47, "git/2.47.1"),
    (61, "perl5/5.36.3_3"),
    (75, "pkg/1.21.4"),
    (75, "ca_root_nss/3.107"),
    (78, "solo5-toolchain/0.9.1"),
];
