# What both lanes need: the programs that tests use, and a fresh environment outside of the repository.

APT="apt-get -qq -y -o DPkg::Lock::Timeout=600" # one lane waits for the other's

install_programs() {
    local wanted=() program package
    command -v chromium-headless-shell >/dev/null || wanted+=(chromium-headless-shell)
    command -v chromium chromium-browser google-chrome >/dev/null || wanted+=(chromium)
    command -v firefox-esr firefox >/dev/null || wanted+=(firefox-esr)
    for program in curl:curl ffmpeg:ffmpeg git:git pulseaudio:pulseaudio pactl:pulseaudio-utils node:nodejs sox:sox; do
        command -v "${program%%:*}" >/dev/null || wanted+=("${program##*:}")
    done
    ldconfig -p 2>/dev/null | grep libportaudio.so.2 >/dev/null || wanted+=(libportaudio2)
    # so that PortAudio finds the virtual microphone
    dpkg -s libasound2-plugins >/dev/null 2>&1 || wanted+=(libasound2-plugins)
    dpkg -s libsox-fmt-all >/dev/null 2>&1 || wanted+=(libsox-fmt-all) # formats of sound to try
    [ ${#wanted[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "Not installed, for want of root or apt-get: ${wanted[*]}" >&2
        return
    fi
    $APT update
    export DEBIAN_FRONTEND=noninteractive
    $APT install --no-install-recommends "${wanted[@]}" >/dev/null && return
    for package in "${wanted[@]}"; do # one that cannot be had keeps none of the others away
        $APT install --no-install-recommends "$package" >/dev/null ||
            echo "apt-get could not install $package" >&2
    done
}

# The environment in the folder $1; where it is not there yet, a fresh one of the first Python named that is
# here, is supported and can make one. PYTHON comes before all others.
enter_environment() {
    local place=$1 python
    shift
    for python in "$place/bin/python" ${PYTHON:-} "$@"; do
        "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' \
            2>/dev/null || continue
        if [ ! -x "$place/bin/pip" ] && ! "$python" -m venv "$place" >/dev/null 2>&1; then
            if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
                $APT install "$(basename "$python")-venv" >/dev/null 2>&1 || true
            fi
            "$python" -m venv --clear "$place" >/dev/null 2>&1 || continue
        fi
        export PATH="$place/bin:$PATH" VIRTUAL_ENV="$place" PIP_DISABLE_PIP_VERSION_CHECK=1
        export CI=true # what could be installed may not be skipped
        # Each of some hundred processes would compile what it imports.
        unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
        if [ -z "${SERDEMO_DATA:-}" ] && [ -d ../shared/data ]; then
            SERDEMO_DATA=$(cd ../shared/data && pwd)
            export SERDEMO_DATA
        fi
        python --version
        return
    done
    echo "No Python 3.11 to 3.14 that can make a virtual environment was found." >&2
    return 1
}
