#!/bin/sh
# Checks evidence that Saphan exported. Needs a POSIX system (busybox is enough), unzip and openssl
# 3.0 or later.
# ກວດສອບຫຼັກຖານທີ່ ສະພານ (Saphan) ສົ່ງອອກ. ຕ້ອງການພຽງ sh, unzip ແລະ openssl 3.0 ຂຶ້ນໄປ.
#
# usage: sh verify.sh [-c ROOTS.pem] [-k VKEY]... CONTAINER_OR_FOLDER
#   -c  certificates of the authorities that you trust; without it those in the evidence are taken
#   -k  verifier key of a log or a witness that you trust; without it those in the evidence are taken
#
# Each line begins with "ok", "NOTE" (something that is not there, and so is not proven) or "BAD".
# Exit code: 0 nothing is BAD; 1 something is; 2 wrong usage.
#
# Take this file from somebody you trust, not from the evidence that it shall check.
set -u
LC_ALL=C
export LC_ALL
umask 077

ROOTS='' KEYS='' NOTES=0 FAULTS=0

ok() { printf 'ok    %s\n' "$*"; }
note() { NOTES=$((NOTES + 1)); printf 'NOTE  %s\n' "$*"; }
bad() { FAULTS=$((FAULTS + 1)); printf 'BAD   %s\n' "$*"; }

finish() {
    if [ "$FAULTS" -gt 0 ]; then
        printf '\nNOT GOOD: %s faults, %s notes. / ບໍ່ຖືກຕ້ອງ\n' "$FAULTS" "$NOTES"
        exit 1
    fi
    printf '\nGOOD: no fault, %s notes. / ຖືກຕ້ອງ\n' "$NOTES"
    exit 0
}

usage() {
    echo 'usage: sh verify.sh [-c ROOTS.pem] [-k VKEY]... CONTAINER_OR_FOLDER' >&2
    exit 2
}

while getopts c:k: option; do
    case $option in
    c) ROOTS=$OPTARG ;;
    k) KEYS="$KEYS$OPTARG
" ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 1 ] || usage
[ -e "$1" ] || { echo "$1 is not there" >&2; exit 2; }
# Each is looked for before anything is judged: no check may pass because its tool is missing.
TOOLS='unzip openssl awk cat cmp cp cut dd find grep head mkdir od rm sed sort tail tr uniq wc xargs'
for tool in $TOOLS; do
    command -v "$tool" >/dev/null || { echo "$tool is not there" >&2; exit 2; }
done
case $(openssl version) in
'OpenSSL '[012].*) echo 'openssl 3.0 or later is needed' >&2; exit 2 ;;
esac
WORK=${TMPDIR:-/tmp}/verify.$$
mkdir "$WORK" || exit 2
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM
if [ -n "$ROOTS" ]; then cp -- "$ROOTS" "$WORK/roots.pem" || exit 2; fi

# ------------------------------------------------------------------ small tools

sha256() { openssl dgst -sha256 -r "$1" | cut -d' ' -f1; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes() { dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null; } # FILE OFFSET LENGTH
size() { wc -c <"$1" | tr -d ' '; }

# The seconds since 1970 of a time as openssl prints it: Nov 22 05:34:31 2026 GMT
seconds() {
    echo "$*" | awk '{
        month = (index("JanFebMarAprMayJunJulAugSepOctNovDec", $1) + 2) / 3
        split($3, clock, /[:.]/); year = $4
        if (month <= 2) { year--; month += 12 }
        days = 365 * year + int(year / 4) - int(year / 100) + int(year / 400)
        days += int((153 * (month - 3) + 2) / 5) + $2 - 719469
        printf "%d", days * 86400 + clock[1] * 3600 + clock[2] * 60 + clock[3]
    }'
}

# Whether a certificate (FILE) chains to a root at a time (seconds), for a purpose.
chains() {
    [ -s "$WORK/roots.pem" ] || return 2
    if [ -s certificates/issuers.pem ]; then
        openssl verify -purpose any -attime "$2" -CAfile "$WORK/roots.pem" -no-CApath \
            -no-CAstore -untrusted certificates/issuers.pem "$1" >/dev/null 2>&1
    else
        openssl verify -purpose any -attime "$2" -CAfile "$WORK/roots.pem" -no-CApath \
            -no-CAstore "$1" >/dev/null 2>&1
    fi
}

# The time in an RFC 3161 token (FILE), in words.
token_words() {
    openssl ts -reply -token_in -in "$1" -text 2>/dev/null | sed -n 's/^Time stamp: //p'
}

# An RFC 3161 token (FILE) over data (FILE); prints its time in seconds.
token_time() {
    at=$(token_words "$1")
    [ -n "$at" ] || return 1
    at=$(seconds "$at")
    more=''
    if [ -s certificates/issuers.pem ]; then more='-untrusted certificates/issuers.pem'; fi
    # shellcheck disable=SC2086
    openssl ts -verify -token_in -in "$1" -data "$2" -CAfile "$WORK/roots.pem" $more \
        -attime "$at" >/dev/null 2>&1 || return 1
    echo "$at"
}

# ------------------------------------------------------------------ 1. the files

NAME='[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*'

unpack() {
    # The unzip of busybox has no -Z: there the names stand behind length, date and time.
    unzip -l "$1" >"$WORK/list" 2>/dev/null || { bad "$1: is no zip"; finish; }
    unzip -Z1 "$1" >"$WORK/names" 2>/dev/null ||
        sed '1,/^ *-/d; /^ *-/,$d; s/^ *[0-9]* *[^ ]* *[^ ]* *//' "$WORK/list" >"$WORK/names"
    if grep -Eqv "^$NAME\$" "$WORK/names"; then
        bad "$1: holds names that evidence does not have"
        finish
    fi
    if [ -n "$(tr 'A-Z' 'a-z' <"$WORK/names" | sort | uniq -d)" ]; then
        bad "$1: holds a file twice"
        finish
    fi
    total=$(sed -n '$s/^ *\([0-9]*\) .*/\1/p' "$WORK/list")
    if [ "$(wc -l <"$WORK/names")" -gt 10000 ] || [ "${total:-999999999}" -gt 268435456 ]; then
        bad "$1: is larger than evidence is"
        finish
    fi
    ulimit -f 600000 # blocks of 512 bytes: whatever the archive claims
    mkdir "$WORK/files"
    if ! unzip -qq "$1" -d "$WORK/files" </dev/null >/dev/null 2>&1; then
        bad "$1: is damaged; unzip -t names the file"
        finish
    fi
    if grep -qx mimetype "$WORK/names"; then
        bytes "$1" 30 39 >"$WORK/begin"
        if [ "$(cat "$WORK/begin")" != 'mimetypeapplication/vnd.etsi.asic-e+zip' ]; then
            bad 'mimetype: is not the first file, stored, or says something else'
        fi
    fi
}

if [ -d "$1" ]; then
    cp -R -- "$1" "$WORK/files" || exit 2
else
    unpack "$1"
fi
cd "$WORK/files" || exit 2
if [ -n "$(find . ! -type f ! -type d)" ]; then
    bad 'it holds links or other things that are no files'
    finish
fi
# A name with a newline has a line without the dot, or one that ends within a folder.
if find . -print | grep -Eqv "^\.(/$NAME)?\$" || [ -n "$(find . -name '*
*')" ]; then
    bad "$1: holds names that evidence does not have"
    finish
fi
MANIFEST=META-INF/ASiCManifest.xml SIGNATURE=META-INF/signature.p7s
if [ ! -s $MANIFEST ]; then
    bad "$MANIFEST: is missing"
    finish
fi
SIGNED=no
grep -q '^<asic:SigReference URI="META-INF/signature.p7s"' $MANIFEST && SIGNED=yes
if [ $SIGNED = yes ] && [ "$(cat mimetype 2>/dev/null)" != application/vnd.etsi.asic-e+zip ]; then
    bad 'mimetype: is missing or says something else'
fi

# Each line of the manifest is one of a few kinds; the digests are printed as openssl prints them.
awk '
    function hex(text,  i, at, bits, count, out) {
        for (i = 1; i <= length(text); i++) {
            at = index("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", \
                substr(text, i, 1)) - 1
            if (at < 0) break
            bits = bits * 64 + at; count += 6
            if (count >= 8) {
                # Without the operator of powers, which the awk of busybox may lack.
                count -= 8; power = count == 4 ? 16 : count == 2 ? 4 : 1
                at = int(bits / power); bits -= at * power
                out = out sprintf("%02x", at)
            }
        }
        return out
    }
    /^<\?xml version="1.0" encoding="UTF-8"\?>$/ { next }
    /^<asic:ASiCManifest xmlns:asic="http:\/\/uri.etsi.org\/02918\/v1.2.1#" xmlns:ds="http:\/\/www.w3.org\/2000\/09\/xmldsig#">$/ { next }
    /^<asic:SigReference URI="META-INF\/signature.p7s" MimeType="application\/pkcs7-signature"\/>$/ { next }
    /^<\/asic:ASiCManifest>$/ { next }
    /^<asic:DataObjectReference URI="[A-Za-z0-9_.\/-]*" MimeType="[a-z0-9.+\/-]*"><ds:DigestMethod Algorithm="http:\/\/www.w3.org\/2001\/04\/xmlenc#sha256"\/><ds:DigestValue>[A-Za-z0-9+\/=]*<\/ds:DigestValue><\/asic:DataObjectReference>$/ {
        split($0, part, /"/)
        digest = $0; sub(/.*<ds:DigestValue>/, "", digest); sub(/<.*/, "", digest)
        print hex(digest) " *" part[2]; next
    }
    { print "unknown line" }
' $MANIFEST | sort >"$WORK/listed"
if grep -qx 'unknown line' "$WORK/listed"; then bad "$MANIFEST: cannot be read"; fi
find . -type f | sed 's|^\./||' |
    grep -vx -e mimetype -e $MANIFEST -e $SIGNATURE >"$WORK/there"
xargs openssl dgst -sha256 -r <"$WORK/there" 2>/dev/null | sort >"$WORK/found"
if ! cmp -s "$WORK/listed" "$WORK/found"; then
    sort "$WORK/listed" "$WORK/found" | uniq -u | sed 's/.*\*//' | sort -u >"$WORK/differ"
    while read -r name; do
        bad "$name: is not what $MANIFEST says"
    done <"$WORK/differ"
    [ "$FAULTS" -gt 0 ] || bad "$MANIFEST: is not of these files"
fi
if [ "$FAULTS" -eq 0 ]; then ok "$(wc -l <"$WORK/there" | tr -d ' ') files have the digests of $MANIFEST"; fi

if [ -s "$WORK/roots.pem" ]; then
    :
elif [ -s certificates/roots.pem ]; then
    cp certificates/roots.pem "$WORK/roots.pem"
    note 'the authorities are those that the evidence brought; compare, or give yours with -c:'
    awk -v to="$WORK/root" '/-----BEGIN/ { n++ } { print > (to "." n) }' certificates/roots.pem
    for root in "$WORK"/root.[0-9]*; do
        printf '      %s\n' "$(openssl x509 -in "$root" -noout -fingerprint -sha256 2>/dev/null)"
    done
else
    note 'there are no certificates of authorities; give yours with -c'
fi

# ------------------------------------------------------------------ 2. who signed the whole

# The DER object at OFFSET of FILE, header included.
object() {
    line=$(openssl asn1parse -inform DER -in "$1" 2>/dev/null | grep "^ *$2:")
    head=$(echo "$line" | sed 's/.*hl= *\([0-9]*\).*/\1/')
    length=$(echo "$line" | sed 's/.* l= *\([0-9]*\).*/\1/')
    bytes "$1" "$2" $((head + length))
}

check_container() {
    [ -s $SIGNATURE ] || { bad "$SIGNATURE: is missing"; return; }
    openssl asn1parse -inform DER -in $SIGNATURE >"$WORK/asn1" 2>/dev/null ||
        { bad "$SIGNATURE: is not DER"; return; }
    # The signature value is the octet string of the signer's info (depth 5 of the structure).
    at=$(sed -n 's/^ *\([0-9]*\):d=5 .*OCTET STRING.*/\1/p' "$WORK/asn1" | tail -n 1)
    openssl asn1parse -inform DER -in $SIGNATURE -strparse "${at:-0}" -noout \
        -out "$WORK/value" >/dev/null 2>&1
    stamped=$(awk -F: '/id-smime-aa-timeStampToken/ { found = 1 }
        found && /SEQUENCE/ { print $1 + 0; exit }' "$WORK/asn1")
    when=''
    if [ -n "$stamped" ]; then
        object $SIGNATURE "$stamped" >"$WORK/token"
        if when=$(token_time "$WORK/token" "$WORK/value"); then
            ok "the container existed at $(token_words "$WORK/token") (RFC 3161)"
        else
            bad "$SIGNATURE: its time-stamp is not over this signature by a trusted authority"
            return
        fi
    else
        note 'nobody stamped the signature of the container (CAdES-B-B): its time is its signer'\''s'
        said=$(openssl cms -cmsout -print -noout -inform DER -in $SIGNATURE 2>/dev/null |
            sed -n 's/^ *UTCTIME:\(.*\)/\1/p' | head -n 1)
        when=$(seconds "$said")
    fi
    more=''
    if [ -s certificates/issuers.pem ]; then more='-certfile certificates/issuers.pem'; fi
    # shellcheck disable=SC2086
    if grep -q 'd=6 .*:ED25519' "$WORK/asn1"; then
        check_ed25519_container
        good=$?
    elif openssl cms -verify -cades -binary -purpose any -inform DER -in $SIGNATURE \
        -content $MANIFEST -CAfile "$WORK/roots.pem" -no-CApath -no-CAstore $more \
        -attime "$when" -signer "$WORK/signer.pem" -out /dev/null >/dev/null 2>&1; then
        good=0
    else
        good=1
    fi
    if [ $good -eq 0 ]; then
        ok "CAdES: the container is signed by $(openssl x509 -in "$WORK/signer.pem" -noout \
            -subject -nameopt RFC2253,-esc_msb | sed 's/^subject=//')"
        check_revocation "$WORK/signer.pem" "$when"
    else
        bad "$SIGNATURE: is not a good CAdES signature over $MANIFEST"
    fi
}

# openssl 3.0 knows no Ed25519 in CMS (RFC 8419), so this takes it apart: the signed attributes hold
# the SHA-512 of the manifest and the SHA-256 of the signer's certificate.
check_ed25519_container() {
    at=$(sed -n 's/^ *\([0-9]*\):d=5 .*cont \[ 0 \].*/\1/p' "$WORK/asn1" | tail -n 1)
    object $SIGNATURE "${at:-0}" >"$WORK/tagged"
    { printf '\061'; dd if="$WORK/tagged" bs=1 skip=1 2>/dev/null; } >"$WORK/attributes"
    inside=$(hex <"$WORK/attributes")
    case $inside in
    *0440"$(openssl dgst -sha512 -r $MANIFEST | cut -d' ' -f1)"*) ;;
    *) return 1 ;;
    esac
    openssl pkcs7 -inform DER -in $SIGNATURE -print_certs 2>/dev/null |
        awk -v to="$WORK/within" '/-----BEGIN/ { n++ } n { print > (to "." n) }'
    for each in "$WORK"/within.[0-9]*; do
        print=$(openssl x509 -in "$each" -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)
        case $inside in
        *0420"$print"*)
            cp "$each" "$WORK/signer.pem"
            openssl x509 -in "$each" -noout -pubkey >"$WORK/public.pem"
            openssl pkeyutl -verify -pubin -inkey "$WORK/public.pem" -rawin \
                -in "$WORK/attributes" -sigfile "$WORK/value" >/dev/null 2>&1 &&
                chains "$each" "$when"
            return
            ;;
        esac
    done
    return 1
}

# What authorities said of a certificate (FILE) as of a time (seconds).
check_revocation() {
    print=$(openssl x509 -in "$1" -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)
    grep -qx "$print $2" "$WORK/asked" 2>/dev/null && return
    echo "$print $2" >>"$WORK/asked"
    asked=no
    for answer in revocation/"$print".*.ocsp; do
        [ -s "$answer" ] || continue
        asked=yes
        check_ocsp "$answer" "$1" "$2"
    done
    for list in revocation/"$print".*.crl; do
        [ -s "$list" ] || continue
        asked=yes
        check_crl "$list" "$1" "$2"
    done
    [ $asked = yes ] || note "nothing here says whether certificate $(short "$print") was revoked"
}

short() { echo "$1" | cut -c1-16; }

# The certificate above another, among those of the authorities: PEM on standard output.
issuer_of() {
    want=$(openssl x509 -in "$1" -noout -issuer_hash)
    cat "$WORK/roots.pem" certificates/issuers.pem 2>/dev/null |
        awk -v to="$WORK/authority" '/-----BEGIN/ { n++ } { print > (to "." n) }'
    for each in "$WORK"/authority.[0-9]*; do
        [ -s "$each" ] || continue
        if [ "$(openssl x509 -in "$each" -noout -subject_hash 2>/dev/null)" = "$want" ]; then
            cat "$each"
            return
        fi
    done
}

check_ocsp() {
    issuer_of "$2" >"$WORK/issuer.pem"
    said=$(openssl ocsp -respin "$1" -issuer "$WORK/issuer.pem" -cert "$2" -no_nonce \
        -CAfile "$WORK/roots.pem" -no-CApath -no-CAstore -verify_other "$WORK/issuer.pem" \
        -attime "$(ocsp_time "$1")" 2>&1)
    case $said in
    *'Response verify OK'*) ;;
    *) bad "$1: is not signed by a responder of the authority"; return ;;
    esac
    from=$(seconds "$(echo "$said" | sed -n 's/.*This Update: //p')")
    # An answer that has ended is still good evidence of its time: openssl only warns of it.
    status=$(echo "$said" | awk '/(^|: )(good|revoked|unknown)$/ { print $NF; exit }')
    case $status in
    good) ok "$1: the certificate was not revoked ($(echo "$said" |
        sed -n 's/.*This Update: //p'))" ;;
    revoked)
        gone=$(seconds "$(echo "$said" | sed -n 's/.*Revocation Time: //p')")
        if [ "$gone" -le "$3" ]; then
            bad "$1: the certificate was revoked before it signed"
        else
            ok "$1: the certificate was revoked only after it signed"
        fi
        return
        ;;
    *) bad "$1: says nothing of this certificate"; return ;;
    esac
    check_near "$1" "$from" "$3"
}

# What was said (FILE) at a time says little of a signature long after it, or before.
check_near() {
    if [ "$2" -gt $(($3 + 86400)) ] || [ $(($2 + 7 * 86400)) -lt "$3" ]; then
        note "$1: is of a time more than a day after, or a week before the signature"
    fi
}

ocsp_time() {
    seconds "$(openssl ocsp -respin "$1" -noverify -text 2>/dev/null |
        sed -n 's/^ *Produced At: //p')"
}

check_crl() {
    issuer_of "$2" >"$WORK/issuer.pem"
    openssl crl -inform DER -in "$1" -CAfile "$WORK/issuer.pem" -noout -text \
        >"$WORK/crl" 2>"$WORK/said" || true
    if ! grep -q 'verify OK' "$WORK/said"; then
        bad "$1: is not signed by the authority of the certificate"
        return
    fi
    # An authority with several lists says in each which certificates it is of (RFC 5280, 5.2.5).
    sed -n '/X509v3 Issuing Distribution Point/,/X509v3 [^I]\|evoked Cert/p' "$WORK/crl" |
        sed -n 's/^ *\(URI:.*\)/\1/p' >"$WORK/points"
    if [ -s "$WORK/points" ] && ! openssl x509 -in "$2" -noout -ext crlDistributionPoints \
        2>/dev/null | sed -n 's/^ *\(URI:.*\)/\1/p' | grep -qxF -f "$WORK/points"; then
        bad "$1: is a list of other certificates"
        return
    fi
    serial=$(openssl x509 -in "$2" -noout -serial | sed 's/.*=//')
    gone=$(sed -n "/Serial Number: $serial\$/,/Revocation Date/s/.*Revocation Date: //p" "$WORK/crl")
    if [ -z "$gone" ]; then
        from=$(seconds "$(sed -n 's/^ *Last Update: //p' "$WORK/crl")")
        ok "$1: the certificate was not revoked"
        check_near "$1" "$from" "$3"
    elif [ "$(seconds "$gone")" -le "$3" ]; then
        bad "$1: the certificate was revoked before it signed"
    else
        ok "$1: the certificate was revoked only after it signed"
    fi
}

if [ $SIGNED = yes ]; then
    check_container
else
    note 'NOT SIGNED: nobody vouches for this collection as a whole'
fi
if [ "$FAULTS" -gt 0 ]; then finish; fi # what follows would be of files that were changed

# ------------------------------------------------------------------ 3. the logs

# Ed25519: KEY in base64 (one byte of type, 32 of key), MESSAGE, SIGNATURE (files).
ed25519() {
    {
        printf '\060\052\060\005\006\003\053\145\160\003\041\000'
        echo "$1" | openssl base64 -d -A | dd bs=1 skip=1 2>/dev/null
    } >"$WORK/key"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key" -rawin -in "$2" \
        -sigfile "$3" >/dev/null 2>&1
}

# One signature line of a checkpoint against one verifier key; 0 good, 1 wrong, 2 another key.
note_line() {
    name=${2%%+*} rest=${2#*+}
    id=${rest%%+*} key=${rest#*+}
    [ "$(echo "$1" | cut -d' ' -f2)" = "$name" ] || return 2
    echo "$1" | cut -d' ' -f3 | openssl base64 -d -A >"$WORK/line"
    [ "$(bytes "$WORK/line" 0 4 | hex)" = "$id" ] || return 2
    made=$({ printf '%s\n' "$name"; echo "$key" | openssl base64 -d -A; } |
        openssl dgst -sha256 -r | cut -c1-8)
    [ "$made" = "$id" ] || return 1
    kind=$(echo "$key" | openssl base64 -d -A | bytes /dev/stdin 0 1 | hex)
    case $kind-$(size "$WORK/line") in
    01-68)
        bytes "$WORK/line" 4 64 >"$WORK/signed"
        cp "$WORK/text" "$WORK/message"
        WHO="the log"
        ;;
    04-76)
        bytes "$WORK/line" 12 64 >"$WORK/signed"
        moment=0
        for byte in $(bytes "$WORK/line" 4 8 | od -An -v -tu1); do
            moment=$((moment * 256 + byte))
        done
        { printf 'cosignature/v1\ntime %s\n' "$moment"; cat "$WORK/text"; } >"$WORK/message"
        WHO="witness $name"
        ;;
    *) return 1 ;;
    esac
    ed25519 "$key" "$WORK/message" "$WORK/signed"
}

check_log() {
    [ -s "$1/vkey" ] && [ -s "$1/checkpoint" ] || { bad "$1: vkey or checkpoint is missing"; return; }
    awk 'length($0) == 0 { exit } { print }' "$1/checkpoint" >"$WORK/text"
    awk 'behind { print } length($0) == 0 { behind = 1 }' "$1/checkpoint" >"$WORK/lines"
    vkey=$(cat "$1/vkey")
    if [ "$(sed -n 1p "$WORK/text")" != "${vkey%%+*}" ]; then
        bad "$1/checkpoint: is of another log than $1/vkey"
        return
    fi
    if [ -n "$KEYS" ] && ! printf %s "$KEYS" | grep -qxF -e "$vkey"; then
        bad "$1/vkey: is none of the keys that you trust"
    fi
    by_log=no witnesses=0
    { cat "$1/vkey"; cat "$1/witnesses" 2>/dev/null; printf %s "$KEYS"; } | sort -u >"$WORK/vkeys"
    if [ -n "$KEYS" ]; then # then no witness counts that only the evidence knows
        printf %s "$KEYS" >"$WORK/given"
        grep -vxF -e "$vkey" -f "$WORK/given" "$WORK/vkeys" >"$WORK/unknown"
        while read -r one; do
            note "$1/witnesses: witness ${one%%+*} is none of the keys that you trust"
        done <"$WORK/unknown"
        { echo "$vkey"; cat "$WORK/given"; } | sort -u >"$WORK/vkeys"
    fi
    while read -r line; do
        while read -r one; do
            note_line "$line" "$one"
            case $? in
            0)
                if [ "$WHO" = 'the log' ]; then
                    [ "$one" = "$vkey" ] && by_log=yes
                else
                    witnesses=$((witnesses + 1))
                    ok "$1/checkpoint: $WHO saw it (cosignature)"
                fi
                ;;
            1) bad "$1/checkpoint: the signature of ${one%%+*} is wrong" ;;
            esac
        done <"$WORK/vkeys"
    done <"$WORK/lines"
    if [ $by_log = yes ]; then
        ok "$1/checkpoint: signed by $vkey"
        [ -n "$KEYS" ] || note "compare that key with the one that the registry lists, or give it: -k"
    else
        bad "$1/checkpoint: is not signed by $1/vkey"
    fi
    [ $witnesses -gt 0 ] || note "$1/checkpoint: no witness that is known here cosigned it"
    tokens=0
    for token in "$1"/tokens/*.tst; do
        [ -s "$token" ] || continue
        tokens=$((tokens + 1))
        if token_time "$token" "$WORK/text" >/dev/null; then
            ok "$token: the log's head existed at $(token_words "$token") (RFC 3161)"
        else
            bad "$token: is not over this checkpoint by a trusted authority"
        fi
    done
    [ $tokens -gt 0 ] || note "$1/checkpoint: nobody stamped it"
}

for log in logs/*; do
    [ -d "$log" ] && check_log "$log"
done

# ------------------------------------------------------------------ 4. the entries

# RFC 6962 section 2.1, RFC 9162 section 2.1.3.2.
check_inclusion() {
    proof=$1/proof.tlog-proof
    log=${1#entries/}
    log=logs/${log%%-*}
    awk 'length($0) == 0 && !behind { behind = 1; next } behind { print }' "$proof" >"$WORK/head"
    awk 'length($0) == 0 { exit } { print }' "$proof" | grep -v '^extra ' >"$WORK/path"
    index=$(sed -n 's/^index \([0-9]*\)$/\1/p' "$WORK/path")
    if [ "$(sed -n 1p "$WORK/path")" != c2sp.org/tlog-proof@v1 ] ||
        [ "$index" != "${1##*-}" ] || ! cmp -s "$WORK/head" "$log/checkpoint"; then
        bad "$proof: is of another entry or another checkpoint"
        return
    fi
    # A number beyond the log has a path, too: of the entry with which it shares its last bits.
    last=$(($(sed -n 2p "$log/checkpoint") - 1))
    case $index in
    0 | [1-9]*) [ "$index" -le "$last" ] 2>/dev/null ;;
    *) false ;;
    esac || { bad "$proof: is of another entry or another checkpoint"; return; }
    left=$index
    { printf '\000'; cat "$1/entry.json"; } | openssl dgst -sha256 -binary >"$WORK/hash"
    sed 1,2d "$WORK/path" >"$WORK/siblings"
    while read -r sibling; do
        if [ "$last" -eq 0 ]; then
            bad "$proof: is too long"
            return
        fi
        echo "$sibling" | openssl base64 -d -A >"$WORK/sibling"
        if [ $((left % 2)) -eq 1 ] || [ "$left" -eq "$last" ]; then
            { printf '\001'; cat "$WORK/sibling" "$WORK/hash"; } |
                openssl dgst -sha256 -binary >"$WORK/above"
            while [ $((left % 2)) -eq 0 ] && [ "$left" -ne 0 ]; do
                left=$((left / 2)) last=$((last / 2))
            done
        else
            { printf '\001'; cat "$WORK/hash" "$WORK/sibling"; } |
                openssl dgst -sha256 -binary >"$WORK/above"
        fi
        cp "$WORK/above" "$WORK/hash"
        left=$((left / 2)) last=$((last / 2))
    done <"$WORK/siblings"
    if [ "$last" -ne 0 ] ||
        [ "$(openssl base64 -A -in "$WORK/hash")" != "$(sed -n 3p "$log/checkpoint")" ]; then
        bad "$proof: does not lead to the root that the log signed"
        return
    fi
    ok "$1: is entry $index of $(sed -n 1p "$log/checkpoint") (inclusion proof)"
}

# A member of the entry: canonical JSON, so a name with its quotes stands only where it is meant.
# What is said of the sealed part has members of the same names.
said() {
    sed -n 's|"sealed":{[^}]*}||; s|.*[{,]"'"$2\":$3"'.*|\1|p' "$1/entry.json"
}

# What a record holds a signature of, by its entry: request, response, or nothing.
signing() {
    case $(said "$1" kind '"\([a-z]*\)"')-$(said "$1" side '"\([a-z]*\)"') in
    request-*) echo request ;;
    response-*) echo response ;;
    refusal-provider) [ -z "$(said "$1" certificate '"\([^"]*\)"')" ] || echo response ;;
    esac
}

check_sealed() {
    digest=$(sed -n 's|.*,"sealed":{"digest":"\([0-9a-f]*\)".*|\1|p' "$1/entry.json")
    if [ -z "$digest" ]; then
        if [ -z "$(signing "$1")" ]; then
            ok "$1: has no sealed part"
        else
            note "$1: the entry alone was kept: what was signed is not here"
        fi
        return 1
    fi
    if [ ! -e "$1/sealed.bin" ]; then
        note "$1: its sealed part is not here: $(sed -n 4p "$1/closed.txt" 2>/dev/null)"
        return 1
    fi
    if [ "$(sha256 "$1/sealed.bin")" != "$digest" ]; then
        bad "$1/sealed.bin: has another digest than the entry says"
        return 1
    fi
    if [ ! -e "$1/record.key" ]; then
        note "$1: its sealed part cannot be opened: $(sed -n 4p "$1/closed.txt" 2>/dev/null)"
        return 1
    fi
    # AES-256-GCM is AES-256-CTR from block 2 on; the digest above stands for its tag.
    length=$(size "$1/head.json")
    {
        printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $((length / 16777216)) \
            $((length / 65536 % 256)) $((length / 256 % 256)) $((length % 256)))"
        cat "$1/head.json" "$1/base.txt" "$1/signature.bin" "$1/body.bin"
    } >"$WORK/plain"
    # In front of the ciphertext stands the nonce (12 bytes), behind it the tag (16 bytes).
    dd if="$1/sealed.bin" bs=$(($(size "$1/sealed.bin") - 16)) count=1 2>/dev/null |
        tail -c +13 | openssl enc -d -aes-256-ctr -K "$(cat "$1/record.key")" \
        -iv "$(bytes "$1/sealed.bin" 0 12 | hex)00000002" >"$WORK/opened" 2>/dev/null
    if ! cmp -s "$WORK/plain" "$WORK/opened"; then
        bad "$1: head.json, base.txt, signature.bin and body.bin are not what sealed.bin holds"
        return 1
    fi
    salt=$(sed -n 's/.*"salt":"\([0-9a-f]*\)".*/\1/p' "$1/head.json")
    made=$(cat "$1/base.txt" "$1/signature.bin" |
        openssl dgst -sha256 -mac HMAC -macopt hexkey:"$salt" -r | cut -d' ' -f1)
    if [ "$made" != "$(said "$1" commitment '"\([0-9a-f]*\)"')" ]; then
        bad "$1: the entry was not made of this signature"
        return 1
    fi
    ok "$1: its content is what the entry commits to"
    check_signing "$1"
}

# Whether what was signed is here exactly when the entry tells of a signed message, and is whole.
check_signing() {
    signing=$(signing "$1")
    if [ -z "$signing" ]; then
        if [ -s "$1/base.txt" ] || [ -s "$1/signature.bin" ]; then
            bad "$1: a record of this kind holds no signature, but its sealed part has one"
        else
            note "$1: there was no signed message"
        fi
        return 1
    fi
    if ! [ -s "$1/base.txt" ] || ! [ -s "$1/signature.bin" ]; then
        bad "$1: the entry tells of a $signing, which is always signed, but holds no signature"
        return 1
    fi
    if [ "$(parameter "$1" tag)" != "saphan-$signing" ]; then
        bad "$1: the entry tells of a $signing, but what its sealed part holds is none"
        return 1
    fi
    if [ "$signing" = request ]; then
        set -- "$1" @method @target-uri content-digest x-road-id
    else
        set -- "$1" @status content-digest @method=req @target-uri=req content-digest=req \
            x-road-id=req signature-input=req
    fi
    folder=$1
    shift
    for name; do
        case $name in *=req) name="\"${name%=req}\";req" ;; *) name="\"$name\"" ;; esac
        grep -q "^$name: " "$folder/base.txt" ||
            bad "$folder: the entry tells of a $signing, but its signature covers no $name"
    done
    for name in client method service status; do
        [ "$signing-$name" != request-status ] || continue
        demand "$folder" "$name" "is told by all"
    done
    # Another server's id may be empty, and then the entry has none.
    [ "$signing" = request ] && id=$(component "$folder" x-road-id '') ||
        id=$(component "$folder" x-road-id ';req')
    demand "$folder" id "$id"
    demand "$folder" request_id "$(component "$folder" x-road-request-id '')"
    if [ "$signing" = request ]; then
        demand "$folder" purpose "$(component "$folder" exchange-purpose '')"
        demand "$folder" nonce "$(asked "$folder" | sed -n '/;nonce=/p')"
    fi
    # What a server signed itself it did not open.
    [ "$signing-$(said "$folder" side '"\([a-z]*\)"')" = request-consumer ] ||
        demand "$folder" certificate "$(other_side "$folder" | sed -n '/;keyid=/p')"
}

# demand FOLDER MEMBER TEXT: what was signed tells this, so the entry has the member.
demand() {
    [ -z "$3" ] || grep -q "[{,]\"$2\":" "$1/entry.json" ||
        bad "$1/entry.json: its $2 is missing: it says less than what was signed"
}

# The parameters of the request's signature, and of the other side's.
asked() {
    if grep -q '^"@status": ' "$1/base.txt"; then
        component "$1" signature-input ';req'
    else
        tail -n 1 "$1/base.txt"
    fi
}
other_side() {
    if [ "$(said "$1" side '"\([a-z]*\)"')" = provider ]; then
        asked "$1"
    else
        tail -n 1 "$1/base.txt"
    fi
}

# A value of the signature base, by its component; of the last line, a parameter.
component() { sed -n "s/^\"$2\"$3: //p" "$1/base.txt"; }
parameter() { tail -n 1 "$1/base.txt" | sed -n "s/.*;$2=\"*\([^;\"]*\)\"*.*/\1/p"; }

check_signature() {
    keyid=$(parameter "$1" keyid)
    created=$(parameter "$1" created)
    certificate=certificates/$keyid.pem
    case $keyid in *[!0-9a-f]* | '') bad "$1/base.txt: names no certificate"; return ;; esac
    if [ ! -s "$certificate" ]; then
        note "$1: the certificate $(short "$keyid") is not here, so its signature is not checked"
        return
    fi
    if [ "$(openssl x509 -in "$certificate" -outform DER | openssl dgst -sha256 -r |
        cut -d' ' -f1)" != "$keyid" ]; then
        bad "$certificate: is another certificate"
        return
    fi
    openssl x509 -in "$certificate" -noout -pubkey >"$WORK/public.pem"
    kind=$(openssl x509 -in "$certificate" -noout -text |
        sed -n 's/^ *Public Key Algorithm: //p')
    case $kind-$(parameter "$1" alg) in
    id-ecPublicKey-ecdsa-p256-sha256)
        check_der "$1" || { bad "$1/signature.der: is not signature.bin in DER"; return; }
        openssl dgst -sha256 -verify "$WORK/public.pem" -signature "$1/signature.der" \
            "$1/base.txt" >/dev/null 2>&1
        ;;
    ED25519-ed25519)
        openssl pkeyutl -verify -pubin -inkey "$WORK/public.pem" -rawin -in "$1/base.txt" \
            -sigfile "$1/signature.bin" >/dev/null 2>&1
        ;;
    rsaEncryption-rsa-pss-sha512)
        openssl dgst -sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:64 \
            -verify "$WORK/public.pem" -signature "$1/signature.bin" "$1/base.txt" >/dev/null 2>&1
        ;;
    *) false ;;
    esac || { bad "$1/signature.bin: is not the signature of base.txt by $certificate"; return; }
    ok "$1: signed by $(openssl x509 -in "$certificate" -noout -subject \
        -nameopt RFC2253,-esc_msb | sed 's/^subject=//') (RFC 9421)"
    check_signer "$1" "$certificate" "$created"
    check_told "$1"
    check_digest "$1"
}

# What the entry says in clear is what was signed, as far as that tells the same.
check_told() {
    for pair in client:x-road-client id:x-road-id request_id:x-road-request-id; do
        tells "$1" "${pair%%:*}" "$(component "$1" "${pair#*:}" '')"
    done
    if grep -q '^"@status": ' "$1/base.txt"; then
        tells "$1" service "$(component "$1" x-road-service '')"
        tells "$1" method "$(component "$1" @method ';req')"
        signed=$(component "$1" @status '')
        claimed=$(said "$1" status '\([0-9]*\)')
        [ -z "$claimed" ] || [ "$signed" = "$claimed" ] || other "$1" status
        signed=$(component "$1" @target-uri ';req')
    else
        tells "$1" purpose "$(component "$1" exchange-purpose '')"
        tells "$1" method "$(component "$1" @method '')"
        signed=$(component "$1" @target-uri '')
    fi
    claimed=$(said "$1" nonce '"\([^"]*\)"')
    [ -z "$claimed" ] || asked "$1" | grep -qF ";nonce=\"$claimed\"" || other "$1" nonce
    claimed=$(said "$1" certificate '"\([^"]*\)"')
    [ -z "$claimed" ] || other_side "$1" | grep -qF ";keyid=\"$claimed\"" ||
        other "$1" certificate
    claimed=$(said "$1" service '"\([^"]*\)"')
    signed=$(printf '%s\n' "$signed" | sed 's|?.*||; s|^[a-z]*://[^/]*||')
    case "$signed/" in
    / | "/r1/$claimed"/*) ;;
    *) [ -z "$claimed" ] || other "$1" service ;;
    esac
}

# tells FOLDER MEMBER TEXT: the entry does not have the member, or has this text, as JSON.
tells() {
    [ -n "$3" ] && grep -qF ",\"$2\":\"" "$1/entry.json" || return 0
    text=$(printf '%s\n' "$3" | sed 's/["\\]/\\&/g')
    grep -qF ",\"$2\":\"$text\"" "$1/entry.json" || other "$1" "$2"
}

other() { bad "$1/entry.json: its $2 is other than what was signed"; }

# signature.der is SEQUENCE { INTEGER r, INTEGER s }, signature.bin is r and s, 32 bytes each.
check_der() {
    openssl asn1parse -inform DER -in "$1/signature.der" 2>/dev/null |
        sed -n 's/.*INTEGER *:\([0-9A-F]*\).*/\1/p' |
        awk '{ printf "%64s", tolower($0) }' | tr ' ' 0 >"$WORK/raw"
    [ "$(cat "$WORK/raw")" = "$(hex <"$1/signature.bin")" ]
}

check_signer() {
    chains "$2" "$3"
    case $? in
    0) ok "$2: trusted when it signed" ;;
    1) bad "$2: leads to no trusted authority at the time of the signature" ;;
    2) note "$2: not judged, since there is no authority to trust" ;;
    esac
    case $(parameter "$1" tag) in
    saphan-request) party=$(said "$1" client '"\([^"]*\)"') ;;
    saphan-response) party=$(said "$1" service '"\([^"]*\)"') ;;
    *) bad "$1/base.txt: is neither a request nor a response"; return ;;
    esac
    name=$(echo "$party" | awk -F/ '{ print "URI:urn:" $1 ":member:" $2 ":" $3 }')
    if ! openssl x509 -in "$2" -noout -ext subjectAltName 2>/dev/null |
        tr ',' '\n' | sed 's/^ *//' | grep -qxF "$name"; then
        bad "$2: is not of $(echo "$party" | cut -d/ -f1-3)"
    fi
    check_revocation "$2" "$3"
}

check_digest() {
    stated=$(component "$1" content-digest '' | sed 's/^sha-256=:\(.*\):$/\1/')
    if [ "$(openssl dgst -sha256 -binary "$1/body.bin" | openssl base64 -A)" = "$stated" ]; then
        ok "$1/body.bin: is the body that was signed ($(size "$1/body.bin") bytes)"
        claimed=$(said "$1" size '\([0-9]*\)')
        [ -z "$claimed" ] || [ "$claimed" = "$(size "$1/body.bin")" ] || other "$1" size
    elif [ -s "$1/body.bin" ] || [ "$(said "$1" size '\([0-9]*\)')" = 0 ]; then
        bad "$1/body.bin: is not the body that was signed"
    else
        note "$1: the body was not kept; its digest was signed"
    fi
}

# An answer repeats method, address, digest, id and Signature-Input of the request it answers.
check_binding() {
    grep '";req: ' "$1/base.txt" | sed 's/^\("[^"]*"\);req: /\1: /' >"$WORK/bound"
    asked=$(sed -n 's/^"signature-input": [^=]*=//p' "$WORK/bound")
    missing=yes
    for other in entries/*; do
        [ -s "$other/base.txt" ] || continue
        [ "$(tail -n 1 "$other/base.txt" | sed 's/^"@signature-params": //')" = "$asked" ] || continue
        missing=no
        if grep -v '^"signature-input": ' "$WORK/bound" | grep -qvxF -f "$other/base.txt"; then
            bad "$1: says other things of its request than $other"
        else
            ok "$1: answers the request $other"
        fi
    done
    [ $missing = no ] || note "$1: the request that it answers is not here, or is closed"
}

entries=0
for entry in entries/*; do
    [ -d "$entry" ] || continue
    entries=$((entries + 1))
    check_inclusion "$entry"
    if check_sealed "$entry"; then
        check_signature "$entry"
        if [ "$(parameter "$entry" tag)" = saphan-response ]; then check_binding "$entry"; fi
    fi
done
[ $entries -gt 0 ] || bad 'there is no entry'
finish
