"""Tab completion of overrides in bash, for `python -m tedg.train`.

Hydra finds what fits, but the function that it installs knows no `python -m`, and takes `=` out of the
shell's word breaks. This one answers for `python -m tedg.train` alone, changes nothing else in the shell, and
completes the last of several values that are separated by commas.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tedg.errors import ConfigError

_NAMES = "NAMES"
_INSTALL = r"""
_tedg_complete() {
    COMPREPLY=()
    if [[ ${COMP_WORDS[1]} != -m || ${COMP_WORDS[2]} != tedg.train ]]; then
        return
    fi
    local line=${COMP_LINE:0:COMP_POINT} cut=${COMP_WORDS[COMP_CWORD]} flags=() words i
    local word=${line##*[[:space:]]}
    local asked=$word listed=
    if [[ $word == *=*,* ]]; then  # the last of several values
        listed=${word%,*},
        asked=${word%%=*}=${word##*,}
    fi
    read -r -a words <<< "${line%"$word"}"
    line=tedg.train
    for ((i = 3; i < ${#words[@]}; i++)); do
        case ${words[i]} in
            --config-dir | -cd | --config-path | -cp | --config-name | -cn)
                flags+=("${words[i]}" "${words[++i]}") ;;
            -* | *[\(\[\{]*) ;;  # what follows can be completed without these
            *) line+=" ${words[i]%%,*}" ;;
        esac
    done
    local python=${COMP_WORDS[0]/#\~/$HOME} found
    line+=" $asked"
    found=$(COMP_LINE=${line//[\'\"]/} "$python" -m tedg.train "${flags[@]}" -sc query=bash 2> /dev/null)
    COMPREPLY=($(compgen -W "$found" -- "$asked"))
    if [[ -n $listed ]]; then
        COMPREPLY=("${COMPREPLY[@]/#*=/$listed}")
    fi
    [[ $cut == "=" ]] && cut=
    COMPREPLY=("${COMPREPLY[@]#"${word%"$cut"}"}")  # bash wants what follows its own last word break
}
complete -o nospace -o default -F _tedg_complete NAMES
"""


def script(asked: Sequence[str]) -> str | None:
    """What the shell is to evaluate for `-sc install=bash` and `-sc uninstall=bash`; None for other requests.

    Raises ConfigError for another shell.
    """
    what, _, shell = asked[0].partition("=") if len(asked) == 1 else ("", "", "")
    if what not in ("install", "uninstall"):
        return None
    if shell != "bash":
        raise ConfigError(f"-sc {asked[0]}: Tab completion is there for bash: -sc {what}=bash")
    names = " ".join(dict.fromkeys(("python", "python3", shlex.quote(Path(sys.executable).name))))
    return (
        _INSTALL.strip().replace(_NAMES, names)
        if what == "install"
        else f"complete -r {names}; unset -f _tedg_complete"
    )
