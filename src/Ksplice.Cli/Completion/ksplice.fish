# SPDX-License-Identifier: MIT
# fish: ksplice completion fish > ~/.config/fish/completions/ksplice.fish
function __ksplice_offers
	set -l line (commandline -cp)
	ksplice "[suggest:"(string length -- $line)"]" $line 2>/dev/null
end
complete -c ksplice -a '(__ksplice_offers)'
