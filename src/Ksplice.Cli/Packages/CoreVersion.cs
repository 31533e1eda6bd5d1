// SPDX-License-Identifier: MIT
// Which interface a core and the modules of an update share (KSPLICE_ABI). The core has it as its module's version; one that is older than
// this rule has none.
using System.Text;
using Ksplice.Build.Elf;

namespace Ksplice.Cli.Packages;

/// <summary>The version of a core module.</summary>
internal static class CoreVersion
{
    private const string Entry = "version=";

    /// <summary>What a module's file says; null if it says nothing, or is no module.</summary>
    public static string? Of(ReadOnlyMemory<byte> module)
    {
        try
        {
            return ElfObject.Read(module, "ksplice.ko").FindSection(".modinfo") is { } section
                ? Encoding
                    .Latin1.GetString(section.Data.Span)
                    .Split('\0')
                    .FirstOrDefault(entry => entry.StartsWith(Entry, StringComparison.Ordinal))
                    ?[Entry.Length..]
                : null;
        }
        catch (ElfFormatException)
        {
            return null;
        }
    }
}
