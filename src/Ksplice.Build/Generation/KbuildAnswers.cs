// SPDX-License-Identifier: MIT
// Before kbuild makes anything it tries some thirty options, each by starting the compiler on an empty file, and the next run tries them
// again. Here the answers are kept. kbuild has one function for a trial, try-run (scripts/Makefile.compiler): its arguments are a shell
// command, the answer if the command succeeds, and the answer if it fails. This file puts another function of that name in its place, which
// looks an answer up by all three arguments and runs the command only if there is none. So kbuild decides as before which options it uses.
//
// What an answer depends on, beside the arguments, is what the compiler, the assembler and the linker are: answers are kept in a file that
// is named after what compiler and linker say of their versions; assembler and linker are of one package. The folder of these files is that
// of one prepared kernel, and so of one toolchain.
//
// An answer is kept as an assignment of make's. The name is the arguments, with letters in place of what make does not take in a name.
using System.Text;
using System.Text.RegularExpressions;
using Ksplice.Build.Files;

namespace Ksplice.Build.Generation;

/// <summary>What kbuild has asked the compiler, kept for the next run.</summary>
/// <param name="folder">The folder of the kept answers.</param>
/// <param name="work">The folder that kbuild works in; its name is no part of a question.</param>
internal sealed partial class KbuildAnswers(string folder, string work)
{
    private const string FunctionFile = "try-run.mk",
        New = "answers.";

    /// <summary>Writes the function into the work folder; what make is told so that kbuild uses it.</summary>
    public string Use()
    {
        File.WriteAllText(Path.Combine(work, FunctionFile), Function);
        return $"try-run=$(eval include {work}/{FunctionFile})$(call ksplice-answer,$(1),$(2),$(3),$(call ksp-name,$(1),$(2),$(3)))";
    }

    /// <summary>Keeps what was asked anew. To be called only if kbuild succeeded.</summary>
    public async Task KeepAsync(CancellationToken cancellation)
    {
        foreach (string file in Directory.GetFiles(work, New + "*"))
        {
            string kept = Path.Combine(folder, Path.GetFileName(file)[New.Length..]);
            Directory.CreateDirectory(folder);
            using var held = await FileLock.TakeAsync(kept + ".lock", () => { }, cancellation).ConfigureAwait(false);
            // Makes that ran side by side may have written into each other's lines. An answer that names the work folder is no other run's.
            var lines = (File.Exists(kept) ? File.ReadLines(kept) : [])
                .Concat(File.ReadLines(file))
                .Where(line => AnswerPattern().IsMatch(line) && !line.Contains(work, StringComparison.Ordinal));
            string text = string.Concat(lines.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).Select(line => line + "\n"));
            AtomicFile.Write(kept, Encoding.UTF8.GetBytes(text));
        }
    }

    private string Function =>
        $$"""
            ifndef ksplice-answer
            ksp-nothing :=
            ksp-hash := \#
            ksp-plain = $(subst {{work}},%w,$(subst =,%e,$(subst :,%c,$(subst $(ksp-hash),%h,$(subst $$,%d,$(subst %,%%,$(1)))))))
            ksp-name = ksplice-answer-$(subst $(ksp-nothing) $(ksp-nothing),%s,$(call ksp-plain,$(strip $(1) | $(2) | $(3))))
            ksplice_tools := $(or $(ksplice_tools),$(shell { $(CC) --version; $(LD) --version; } 2>&1 | cksum | tr ' ' -))
            export ksplice_tools
            ksp-try = $(shell TMP=$$(mktemp -d)/tmp; if ($(1)) >/dev/null 2>&1; then echo "$(2)"; else echo "$(3)"; fi; rm -rf "$${TMP%/*}")
            ksp-keep = $(eval $(1) := $(2))$(file >>{{work}}/{{New}}$(ksplice_tools),$(1) := $(2))$(2)
            ksplice-answer = $(if $(filter undefined,$(origin $(4))),$(call ksp-keep,$(4),$(call ksp-try,$(1),$(2),$(3))),$($(4)))
            -include {{folder}}/$(ksplice_tools)
            endif

            """;

    // What make reads back as it was written.
    [GeneratedRegex(@"^ksplice-answer-(?:(?!ksplice-answer-)[^\s:=#$])+ := [^#$\\]*$")]
    private static partial Regex AnswerPattern();
}
