# SPDX-License-Identifier: MIT
# bash: eval "$(ksplice completion bash)", or put it into /usr/share/bash-completion/completions/ksplice
_ksplice() {
	local words
	mapfile -t words < <(ksplice "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null)
	mapfile -t COMPREPLY < <(compgen -W "${words[*]}" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _ksplice ksplice
