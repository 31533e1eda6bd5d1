// SPDX-License-Identifier: MIT
// Exports that generated assembly brings, in the form that the kernel's EXPORT_SYMBOL_GPL writes (include/linux/export-internal.h), and
// what modpost has to know of them. Where that header knows SYMBOL_FLAGS, exports for all and those under the GPL (KSYM_FLAG_GPL_ONLY, 1)
// stand in one table; else each kind has its own.
using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Ksplice.Build.Generation;

/// <summary>Writes the exports of one generated module.</summary>
/// <param name="assembly">Takes the entries.</param>
/// <param name="module">The module's name.</param>
/// <param name="crc">The checksum of each export.</param>
internal sealed class ExportTable(StringBuilder assembly, string module, uint crc)
{
    private readonly StringBuilder _versions = new();
    private int _count;

    /// <summary>The exports in the form of Module.symvers.</summary>
    public string SymbolVersions => _versions.ToString();

    /// <summary>One checksum for all exports of an update's helpers and primaries: it says which update they are of.</summary>
    public static uint ChecksumOf(string updateId) =>
        BinaryPrimitives.ReadUInt32LittleEndian(SHA256.HashData(Encoding.ASCII.GetBytes("ksplice " + updateId)));

    /// <summary>Adds an export of <paramref name="name"/>.</summary>
    /// <param name="name">The name that it is exported by.</param>
    /// <param name="value">The value as the assembler takes it; null if it is known when the module loads: the entry is writable.</param>
    public void Add(string name, string? value)
    {
        int number = _count++;
        if (number == 0)
            assembly.Append("#include <linux/export-internal.h>\n\n");
        assembly.Append(
            CultureInfo.InvariantCulture,
            $"""
            	.section "__ksymtab_strings","aMS",%progbits,1
            .Lname{number}:
            	.asciz "{name}"
            .Lnamespace{number}:
            	.asciz ""
            #ifdef SYMBOL_FLAGS
            	.section "___kflagstab+{name}","a",%progbits
            	.byte 1
            	.section "___ksymtab+{name}","{(value is null ? "aw" : "a")}",%progbits
            #else
            	.section "___ksymtab_gpl+{name}","{(value is null ? "aw" : "a")}",%progbits
            #endif
            	.balign 4
            	.long {value ?? "0"}
            	.long .Lname{number} - .
            	.long .Lnamespace{number} - .
            #ifdef CONFIG_MODVERSIONS
            #ifdef SYMBOL_FLAGS
            	.section "___kcrctab+{name}","a",%progbits
            #else
            	.section "___kcrctab_gpl+{name}","a",%progbits
            #endif
            	.balign 4
            	.long 0x{crc:x8}
            #endif

            """
        );
        _versions.Append(CultureInfo.InvariantCulture, $"0x{crc:x8}\t{name}\t{module}\tEXPORT_SYMBOL_GPL\t\n");
    }
}
