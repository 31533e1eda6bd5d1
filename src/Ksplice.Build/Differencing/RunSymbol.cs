// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Differencing;

/// <summary>
/// Something in the running kernel that new code refers to, identified by where the pre object has it. Its address is
/// never known at build time: run-pre matching finds it on the target (paper, section 4.1).
/// </summary>
public abstract record RunSymbol
{
    /// <summary>The name to show to a person.</summary>
    public abstract string DisplayName { get; }
}

/// <summary>A symbol with global binding: one name, one meaning in the whole kernel.</summary>
/// <param name="Name">The symbol's name.</param>
public sealed record GlobalSymbol(string Name) : RunSymbol
{
    /// <inheritdoc/>
    public override string DisplayName => Name;
}

/// <summary>A static function or object of one compilation unit; its name may occur many times in kallsyms.</summary>
/// <param name="Unit">The unit's source path, <c>fs/proc/version.c</c>.</param>
/// <param name="Name">The symbol's name in the pre object, or the section's if it has none.</param>
/// <param name="PreSection">The section of the pre object that holds it.</param>
/// <param name="Offset">Bytes from the start of that section.</param>
public sealed record LocalSymbol(string Unit, string Name, int PreSection, ulong Offset) : RunSymbol
{
    /// <inheritdoc/>
    public override string DisplayName => $"{Name} ({Unit})";
}

/// <summary>A number that the kernel writes into its own code at boot (K5); no address, but found in the same way.</summary>
/// <param name="Name">The section that lists its places, <c>runtime_ptr_dentry_hashtable</c>.</param>
public sealed record RuntimeConstant(string Name) : RunSymbol
{
    /// <inheritdoc/>
    public override string DisplayName => Name;
}

/// <summary>A string literal that the pre code refers to; identified by what it says, whichever unit of a target has it.</summary>
/// <param name="Unit">The source path of a unit that refers to it.</param>
/// <param name="Content">The bytes before the terminating zero, one char for each (Latin-1).</param>
public sealed record StringLiteral(string Unit, string Content) : RunSymbol
{
    /// <inheritdoc/>
    public override string DisplayName => $"\"{Content}\" ({Unit})";

    /// <inheritdoc/>
    public bool Equals(StringLiteral? other) => other?.Content == Content;

    /// <inheritdoc/>
    public override int GetHashCode() => Content.GetHashCode(StringComparison.Ordinal);
}
